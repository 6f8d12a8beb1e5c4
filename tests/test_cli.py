"""The command line: what it prints, what it refuses and with which exit code."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

import flexure
from flexure import cli
from flexure.cli.show import _summary, as_table, estimate, say
from flexure.cli.watch import Watch
from flexure.results import Result
from flexure.runs.spec import Spec

DIGITS = ["lenet5", "--data", "digits", "--limit", "12"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_help_is_quick_because_it_imports_nothing_heavy():
    heavy = ("torch", "numpy", "pandas", "pydantic", "flexure.runs", "flexure.results")
    for command in (["--help"], ["examine", "--help"], ["--version"]):
        code = (
            f"import sys; from flexure.cli import run; run({command}); print([m for m in {heavy} if m in sys.modules])"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.splitlines()[-1] == "[]"


def test_the_module_runs_like_the_command():
    command = [sys.executable, "-m", "flexure", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == flexure.__version__


def test_a_reader_who_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "flexure", "study"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        program.stdout.close()
        assert program.stderr.read() == "" and program.wait(60) == 141


def test_help_lists_the_commands_there_are(capsys):
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"│ (\w+) ", shown) == ["doctor", "examine", "layers", "report", "study", "sweep", "train"]
    assert "--version" in shown


@pytest.mark.parametrize("field", ["split", "batch_size", "seed", "device", "dtype"])
def test_the_defaults_in_the_help_are_those_of_a_spec(field, capsys):
    cli.run(["examine", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    wanted = Spec(model="m", data="d").model_dump()[field]
    assert re.search(rf"--{field.replace('_', '-')} .*?\[default: {wanted}\]", shown)


def test_a_measurement_prints_what_it_will_do_and_what_came_out(here, capsys):
    assert cli.run(["examine", *DIGITS, "--out", "mine"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [
        "network: lenet5, 61,706 parameters, pixels taken as they are",
        "images: 12 of digits",
        "sensitivity: 3 passes over 12 images",
    ]
    row = flexure.read("mine")["sensitivity"].table.iloc[-1]
    assert f"sensitivity R  {estimate(row, 'R')}" in lines
    assert lines[-2:] == ["run folder: mine", "page: mine/report.html"]
    assert b"<html" in (here / "mine" / "report.html").read_bytes()[:200]


def test_a_comparison_has_its_own_column(capsys):
    assert cli.run(["examine", *DIGITS, "--set", "sensitivity.initialized=1", "sensitivity.layers=fc*"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^output +initialized +measured", shown, re.M)
    assert re.search(r"^sensitivity R +[\d.]+ ± [\d.]+ +[\d.]+ ± [\d.]+ *$", shown, re.M)


def test_what_initialized_networks_were_not_measured_for_stays_empty(capsys):
    shuffled = ["sensitivity.initialized=1", "sensitivity.layers=fc*", "sensitivity.shuffle=input"]
    assert cli.run(["examine", *DIGITS, "--set", *shuffled]) == 0
    assert re.search(r"^sensitivity R_shuffled +[\d.]+ ± [\d.]+ *$", capsys.readouterr().out, re.M)


def told(table, probe="filters", **columns):
    """What the terminal shows of a result, line by line, without spaces at the end."""
    result = Result(probe, "?", table.assign(**columns))
    with (console := Console(width=100)).capture() as capture:
        console.print(_summary(result, "before training", "after training"))
    return [line.rstrip() for line in capture.get().splitlines()]


def layers_table(count):
    index = [0.5] * count
    table = pd.DataFrame({"layer": [f"conv{i}" for i in range(count)], "pooling_index": index, "status": "measured"})
    return table.assign(pooling_index_se=0.01, frequency=0.3, frequency_se=0.1)


def test_a_result_whose_rows_are_layers_shows_them_by_name():
    assert told(layers_table(2)) == [
        "filters pooling_index  after training",
        "conv0                  0.500 ± 0.010",
        "conv1                  0.500 ± 0.010",
    ]
    assert told(layers_table(1), pooling_index_init=0.1, pooling_index_init_se=0.02) == [
        "filters pooling_index  before training  after training",
        "conv0                  0.100 ± 0.020    0.500 ± 0.010",
    ]


def test_fuzziness_is_told_before_and_after_with_what_tells_rows_of_a_layer_apart():
    one = {"layer": ["conv1"], "interval": "init", "scope": "layer", "index": "sine", "status": "measured"}
    values = {"fuzziness": 0.5, "fuzziness_se": 0.01, "fuzziness_before": 0.6, "fuzziness_before_se": 0.02}
    assert told(pd.DataFrame(one), "fuzziness", **values) == [
        "fuzziness  before training  after training",
        "conv1      0.600 ± 0.020    0.500 ± 0.010",
    ]
    two = pd.DataFrame({**one, "layer": ["conv1", "conv1"], "interval": ["init", "abs"]})
    names = [line.split("  ")[0] for line in told(two, "fuzziness", **values)]
    assert names == ["fuzziness", "conv1, init", "conv1, abs"]


def test_an_output_measured_at_several_points_is_told_point_by_point():
    levels = pd.DataFrame({"layer": "output", "corruption": [0.0, 10.0], "accuracy": [0.9, 0.2], "accuracy_se": 0.01})
    assert told(levels) == [
        "filters accuracy  after training",
        "corruption 0      0.900 ± 0.010",
        "corruption 10     0.200 ± 0.010",
    ]
    plane = pd.DataFrame({"layer": "output", "cutoff": [3, 5], "temperature": [1e-4, 2e-3], "in_band": [True, False]})
    assert told(plane, D=0.1, D_se=0.01, R=[0.5, 0.25], R_se=0.02)[1:] == [
        "cutoff 3, temperature 0.0001  0.500 ± 0.020",
        "cutoff 5, temperature 0.002   0.250 ± 0.020",
    ]


def test_attacks_are_told_by_name_and_none_is_left_out():
    cells = [("clean", 0.0), *((name, eps) for name in ("fgsm", "pgd", "worst") for eps in (0.01, 0.03, 0.1))]
    attacked = pd.DataFrame([*cells, ("jsma", float("nan"))], columns=["attack", "eps"])
    attacked.insert(0, "layer", "output")
    lines = told(attacked, robust_accuracy=0.5, robust_accuracy_se=0.01)
    assert len(lines) == 12
    assert [line.split("  ")[0] for line in lines[1:4]] == ["clean, eps 0", "fgsm, eps 0.01", "fgsm, eps 0.03"]
    assert lines[-1].split("  ")[0] == "jsma"


@pytest.mark.parametrize(("count", "shown"), [(8, 8), (9, 9), (53, 9)])
def test_of_a_deep_network_the_layers_at_either_end_are_shown(count, shown):
    names = [line.split("  ")[0] for line in told(layers_table(count))[1:]]
    assert len(names) == shown and names[:4] == [f"conv{i}" for i in range(4)] and names[-1] == f"conv{count - 1}"
    assert (f"({count - 8} more layers)" in names) == (count > 8)


def test_layers_without_a_number_are_left_out_and_where_all_are_the_reason_is_told():
    one = layers_table(2).assign(pooling_index=[float("nan"), 0.5])
    assert [line.split()[0] for line in told(one)[1:]] == ["conv1"]
    none = one.assign(pooling_index=float("nan"), status="1×1: one mode only")
    assert told(none) == ["filters: nothing to measure (1×1: one mode only)"]
    assert told(layers_table(0)) == ["None"]


def test_what_was_trained_is_titled_so():
    table = pd.DataFrame({"layer": ["conv", "output"], "R": [1.0, 0.2], "R_se": 0.1, "R_init": 0.7, "R_init_se": 0.1})
    assert told(table) == ["output     before training  after training", "filters R  0.70 ± 0.10      0.20 ± 0.10"]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("exmine", 2, 'Unknown command "exmine". Did you mean "examine"?'),
        ("examine lenet5 --dta digits", 2, "Unknown option: --dta. Did you mean --data?"),
        ("examine lenet4 --data digits", 2, "no model 'lenet4'. Did you mean 'lenet'? Valid: alexnet,"),
        ("examine lenet5 --data digts", 2, "no data set 'digts'. Did you mean 'digits'? Valid:"),
        ("examine lenet5 --data digits --probe sensitivty", 2, "no probe 'sensitivty'. Did you mean 'sensitivity'?"),
        ("examine lenet5 --data digits --set sensitivity.drawz=2", 2, "no option 'drawz'. Did you mean 'draws'?"),
        (
            "examine lenet5 --data digits --set sensitivity.draws=0",
            2,
            "draws must be a whole number of at least 1; got 0",
        ),
        ("examine lenet5 --data digits --set draws=2", 2, "--set draws=2: expected probe.option=value"),
        ("examine lenet5 --data digits --limit few", 2, 'Invalid value for --limit: unable to convert "few" into int.'),
        (
            "examine lenet5 --data digits --image-size 8by8",
            2,
            "--image-size: expected N or HxW, such as 224 or 224x320",
        ),
        ("examine lenet5 --data digits --batch-size 0", 2, "batch_size: expected greater than 0; got 0."),
        ("examine lenet5 --data digits --normalize imagnet", 2, "no normalization 'imagnet'. Did you mean 'imagenet'?"),
        ("examine lenet5 --data digits --device gpu", 2, "device 'gpu' cannot be used here"),
        ("examine lenet5 --data digits --config no.yaml", 2, "no.yaml: cannot be read (No such file or directory)."),
        ("examine lenet5 --data digits --weights no.pt", 1, "weights no.pt: no such file."),
        ("examine lenet5 --data folder:nowhere", 1, "nowhere"),
        ("examine lenet5", 2, "--data is missing: which images shall lenet5 be shown?"),
        ("examine --data digits", 2, "--data without a MODEL"),
        ("examine --resume --out nowhere", 1, "nowhere: holds no run to go on with"),
        ("layers lenet5 --shape 28x28", 2, "--shape: expected CxHxW, such as 3x224x224; got '28x28'."),
        ("report nowhere", 1, "nowhere: no such folder"),
    ],
)
def test_a_mistake_is_answered_in_one_message(here, capfd, command, code, words):
    assert cli.run(shlex.split(command)) == code
    shown = capfd.readouterr()
    assert shown.out == ""
    assert words in " ".join(shown.err.split())
    assert shown.err.startswith("flexure: ") and "Traceback" not in shown.err
    assert not list(here.iterdir())


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_read(here, capsys):
    (here / "file").write_text("in the way")
    assert cli.run(["examine", *DIGITS, "--out", "file/run"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "flexure: file/run: cannot be written (Not a directory). Choose another folder.\n"
    assert shown.out == ""


def test_a_developer_can_see_where_an_error_comes_from(monkeypatch):
    monkeypatch.setenv("FLEXURE_DEBUG", "1")
    with pytest.raises(flexure.ArgumentError, match="no model 'lenet4'"):
        cli.run(["examine", "lenet4", "--data", "digits"])


@pytest.fixture
def stopped(monkeypatch):
    """Someone presses Ctrl-C at the third step."""
    steps = iter(range(1000))

    def tell(self, *args) -> None:
        if next(steps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "_tell", tell)


def test_ctrl_c_says_how_to_go_on_and_going_on_gives_the_identical_result(stopped, capsys):
    run = ["--batch-size", "6", "--limit", "30"]
    assert cli.run(["examine", *DIGITS[:3], *run, "--out", "my run"]) == 130
    told = capsys.readouterr().err
    assert told.startswith("stopped; what is finished is in my run. Go on with: flexure examine ")
    again = shlex.split(told.partition("Go on with: ")[2])[1:]
    assert again == ["examine", "--out", "my run", "--resume"]
    assert cli.run(again) == 0
    assert cli.run(["examine", *DIGITS[:3], *run, "--out", "whole"]) == 0
    resumed, whole = (flexure.read(name)["sensitivity"] for name in ("my run", "whole"))
    pd.testing.assert_frame_equal(resumed.table, whole.table, check_exact=True)


def test_a_request_to_terminate_is_taken_like_ctrl_c(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Watch, "_tell", lambda *args: os.kill(os.getpid(), signal.SIGTERM))
    assert cli.run(["examine", *DIGITS, "--out", "mine"]) == 130
    assert Path("mine/.partial/sensitivity.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_layers_are_listed_with_what_can_be_measured(capsys):
    assert cli.run(["layers", "lenet5"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["layer", "kind", "shape", "features", "dtype", "parameters", "status"]
    assert rows[1] == ["conv1", "Conv2d", "6×28×28", "4,704", "float32", "156", "measured"]
    assert rows[-1][:2] == ["output", "output"]


def test_layers_take_a_shape(capsys):
    assert cli.run(["layers", "small_cnn", "--shape", "1x12x16"]) == 0
    assert "16×12×16" in capsys.readouterr().out


def test_names_with_markup_are_shown_as_they_are():
    out = io.StringIO()
    Console(file=out, width=80).print(as_table(pd.DataFrame({"layer": ["[red]x[/]", ":smile:"], "n": [1234, 1]})))
    assert "[red]x[/]" in out.getvalue() and ":smile:" in out.getvalue() and "1,234" in out.getvalue()


def test_reports_put_runs_side_by_side(here, capsys):
    for seed in ("0", "1"):
        cli.run(["examine", *DIGITS, "--seed", seed, "--out", f"run{seed}"])
    capsys.readouterr()
    assert cli.run(["report", "run0", "--to", "one.html", "--title", "My <net>"]) == 0
    assert cli.run(["report", "run0", "run1"]) == 0
    assert capsys.readouterr().out == "page: one.html\npage: compare.html\n"
    assert "My &lt;net&gt;" in (here / "one.html").read_text()
    assert {"run0", "run1"} <= set(re.findall(r"run\d", (here / "compare.html").read_text()))


def test_the_doctor_reports_and_its_exit_code_says_whether_all_is_well(capsys, monkeypatch):
    assert cli.run(["doctor"]) == 0
    assert re.search(r"^ok +torch +\d", capsys.readouterr().out, re.M)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli.run(["doctor"]) == 1
    assert re.search(r"^!! +torch ", capsys.readouterr().out, re.M)


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("flexure.cli.watch.time", clock)
    return clock


def test_without_a_terminal_progress_is_a_line_now_and_then(clock):
    out = io.StringIO()
    clock.now = 100.0
    step = Watch(Console(file=out, width=100))("sensitivity")
    for second in range(31):
        clock.now = second + 100.0
        step(second + 1, 1000)
    clock.now += 20
    step(1000, 1000)
    step(1, 10)
    clock.now += 4
    step(5, 10)
    assert out.getvalue().splitlines() == [
        "sensitivity: 3 of 1,000 (0%), about 997 s left",
        "sensitivity: 13 of 1,000 (1%), about 987 s left",
        "sensitivity: 23 of 1,000 (2%), about 977 s left",
        "sensitivity: 5 of 10 (50%), about 5 s left",
    ]


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (0.012345, 0.00456, "0.0123 ± 0.0046"),
        (12.3, 4.56, "12.3 ± 4.6"),
        (1234.5, 99.0, "1234 ± 99"),
        (1.0, 0.0, "1.000 ± 0.000"),
        (0.5, float("nan"), "0.5 ± nan"),
        (float("nan"), float("nan"), "–"),
    ],
)
def test_an_estimate_shows_as_many_digits_as_its_error_allows(value, error, words):
    assert str(estimate({"R": value, "R_se": error}, "R")) == words


def test_in_a_terminal_progress_is_a_bar_once_it_takes_long(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()
    watch = Watch(Console(file=out, width=100, force_terminal=True, legacy_windows=False))
    step = watch("sensitivity")
    step(1, 4)
    assert out.getvalue() == ""
    clock.now = 3.0
    step(2, 4)
    watch.close()
    assert "sensitivity" in out.getvalue() and "2/4" in out.getvalue()
    watch.close()


def test_a_second_process_keeps_quiet(clock, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    out = io.StringIO()
    step = Watch(Console(file=out))("sensitivity")
    clock.now = 60.0
    step(1, 2)
    say("hello")
    assert cli.run(["examine", "lenet4", "--data", "digits"]) == 2
    assert (out.getvalue(), *capsys.readouterr()) == ("", "", "")


def test_two_processes_print_and_write_once_and_agree_with_one():
    command = ["-m", "flexure", "examine", *DIGITS, "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    two = subprocess.run([*launcher, *command, "two"], capture_output=True, text=True, env=environment)
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("page: two/report.html") == two.stdout.count("images: 12 of digits") == 1
    assert cli.run(["examine", *DIGITS, "--out", "one"]) == 0
    runs = [flexure.read(name) for name in ("one", "two")]
    pd.testing.assert_frame_equal(*(run["sensitivity"].table for run in runs), rtol=1e-5)
    assert runs[1].environment["world_size"] == 2
    assert runs[1].environment["command"] == "torchrun --nproc-per-node 2 -m flexure examine " + shlex.join(
        [*DIGITS, "--out", "two"]
    )
