"""``flexure sweep``: what it prints, with which exit code, and how it says how far it is."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from flexure import cli
from flexure.cli import sweep as room
from flexure.fleet import Sweep, sweep
from tests.fleet.driver import until
from tests.fleet.made import swept

FILE = """\
name: small
base: {model: lenet5, data: digits, limit: 12, threads: 1, probes: {sensitivity: {layers: [FILTER]}}}
grid: {seed: [0, 1]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(here: Path, layers: str = "fc*") -> str:
    (here / "small.yaml").write_text(FILE.replace("FILTER", f'"{layers}"'))
    return "small.yaml"


def test_a_sweep_prints_its_table_its_folder_and_its_page(here, capsys):
    assert cli.run(["sweep", file(here)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "seed status time test error D G R" or lines[0] == "seed status time D G R"
    assert re.match(r"0 done [\d.]+ s .*± ", lines[1]) and re.match(r"1 done ", lines[2])
    assert lines[-2:] == ["sweep folder: runs/small", "page: runs/small/report.html"]
    page = (here / "runs" / "small" / "report.html").read_text()
    links = re.findall(r'<a href="([^"]*)"', page)
    assert len(links) == 2 and all((here / "runs" / "small" / link).is_file() for link in links)


def test_failures_are_told_and_make_the_exit_code(here, capsys):
    assert cli.run(["sweep", file(here, "nothing*"), "--out", "mine"]) == 1
    shown = capsys.readouterr().out
    assert "failed: " in shown and "nothing*" in shown
    assert "2 failed; their tracebacks are in failed.json in their folders. Try again with --retry." in shown
    assert cli.run(["sweep", "mine", "--status"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith("small: 0 of 2 done, 2 failed failed seed=0")


def test_status_says_which_runs_of_an_edited_file_were_never_begun(here, capsys):
    assert cli.run(["sweep", file(here)]) == 0
    (here / "small.yaml").write_text((here / "small.yaml").read_text().replace("[0, 1]", "[1, 2, 3]"))
    capsys.readouterr()
    assert cli.run(["sweep", "small.yaml", "--status"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("note: 2 of the 3 runs in small.yaml are not in runs/small. Begin them without --status.\n")
    assert "2 of 2 done" in out
    assert cli.run(["sweep", "runs/small", "--status"]) == 0
    assert "note" not in capsys.readouterr().out


def test_a_reason_is_shown_without_the_folder_of_its_job():
    reason = f"RunError: /very/long/path/jobs/{'0f' * 8}/training.parquet: cannot be written (No space left on device)."
    assert room._short(reason) == "RunError: training.parquet: cannot be written (No space left on device)."


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("sweep small.yaml --workers 0", 2, "workers: expected at least 1; got 0"),
        ("sweep nowhere.yaml", 2, "nowhere.yaml: cannot be read (No such file or directory)"),
        ("sweep small.yaml --status", 1, "runs/small: no such folder. A sweep folder is what `flexure sweep` writes."),
        ("sweep . --status", 1, "holds no sweep (no sweep.yaml). A sweep folder is what `flexure sweep` writes."),
        ("sweep small.yaml --retrie", 2, "Unknown option: --retrie. Did you mean --retry?"),
    ],
)
def test_what_is_wrong_is_said(here, capsys, command, code, words):
    file(here)
    assert cli.run(command.split()) == code
    out, err = capsys.readouterr()
    assert words in out + err
    assert not (here / "runs").exists()


def test_a_typo_names_the_field_the_line_and_the_nearest_name(here, capsys):
    (here / "small.yaml").write_text("base:\n  model: lenet5\n  data: digits\n  limitt: 3\n")
    assert cli.run(["sweep", "small.yaml"]) == 2
    assert "small.yaml, base: line 4: no field 'limitt'. Did you mean 'limit'?" in capsys.readouterr().err


def test_status_of_a_sweep_at_work_says_who_is_at_what_and_how_long_it_takes(here, capsys):
    fields = {"book": str(here / "book"), "steps": 60, "pause": 0.02}
    spec = {"name": "tiny", "base": fields, "grid": {"value": list(range(4))}}
    program = (
        "import sys, json; from flexure.fleet import sweep; sweep(json.loads(sys.argv[1]), out='out', work=sys.argv[2])"
    )
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", program, json.dumps(spec), "tests.fleet.works:count"]
    driver = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.DEVNULL)
    until((here / "out" / "jobs.json").is_file)

    def told() -> bool:
        assert cli.run(["sweep", "out", "--status"]) == 0
        shown = capsys.readouterr().out
        headline = re.search(r"^tiny: [123] of 4 done, [12] running, .*about .* left\n", shown)
        return bool(headline and re.search(r"^  running  value=\d  \d\.\d s", shown, re.M))

    until(told)
    driver.send_signal(signal.SIGINT)
    driver.wait(30)
    assert cli.run(["sweep", "out", "--status"]) == 0
    assert re.search(r"of 4 done, .*nobody works on it\n  stopped half way  value=", capsys.readouterr().out)
    sweep(spec, out="out", work="tests.fleet.works:count")
    assert cli.run(["sweep", "out", "--status"]) == 0
    assert capsys.readouterr().out == "tiny: 4 of 4 done\n"


def test_a_stopped_command_says_how_to_go_on(here):
    file(here)
    text = FILE.replace("FILTER", '"*"').replace("limit: 12", "limit: 1500").replace("[0, 1]", "[0, 1, 2, 3]")
    (here / "small.yaml").write_text(text)
    command = [sys.executable, "-m", "flexure", "sweep", "small.yaml"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    until(lambda: list(here.glob("runs/small/jobs/*/started.json")))
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("stopped; what is finished is in runs/small. Go on with: flexure sweep runs/small\n")
    assert Sweep.read("runs/small").counts["running"] == 0


def test_a_long_list_is_cut(here):
    found = swept(here, grid={"number": list(range(20))}, failed=20)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(room._board(found))
    shown = captured.get()
    assert shown.startswith("made: 0 of 20 done, 20 failed\n") and "it <b>broke</b>" in shown
    assert "… and 8 more" in shown and "number=12" not in shown


def test_the_board_waits_for_the_folder(here):
    seen = []
    assert str(room._look(here, seen)) == "preparing …"
    swept(here, measured=False)
    room._look(here, seen)
    assert seen[0].counts == {"done": 4}


def test_report_draws_a_sweep_that_no_driver_has_brought_to_an_end(here, capsys):
    swept(here, failed=1)
    assert cli.run(["report", str(here)]) == 0
    assert "3 done, 1 failed" in (here / "report.html").read_text()
