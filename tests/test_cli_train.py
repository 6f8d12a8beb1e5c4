"""``flexure train``: what it prints, what it refuses, and how it is stopped and gone on with."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flexure import cli
from flexure.results import read
from flexure.runs.training_spec import TrainingSpec

SMALL = ["--threads", "1", "--device", "cpu"]
QUICK = [
    "small_cnn",
    "digits",
    "--limit",
    "60",
    "--test-limit",
    "40",
    "--epochs",
    "2",
    *SMALL,
    "--set",
    "measure_limit=20",
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_trains_measures_and_draws_the_page(here, capsys):
    assert cli.run(["train", *QUICK, "--probe", "sensitivity", "--schedule", "{epoch_cosine: {share: 1}}"]) == 0
    out = capsys.readouterr().out
    assert "training on 60 images of digits for 2 epochs, testing on 40" in out
    assert re.search(r"test accuracy after 2 epochs: 0\.\d{4} ± 0\.\d{4}", out)
    assert re.search(r"output +before training +after training", out)
    assert "run folder: runs/small_cnn-digits-trained" in out
    folder = here / "runs" / "small_cnn-digits-trained"
    assert "How did it learn" in (folder / "report.html").read_text()
    run = read(folder)
    assert (set(run.results), run.spec["schedule"]) == ({"sensitivity", "training"}, {"epoch_cosine": {"share": 1}})


def test_what_monitors_saw_is_summed_up_by_the_last_step_and_schedules_that_never_come_are_told(here, capsys):
    asked = [
        *QUICK,
        "monitors={fuzziness: {every: 1}, trajectories: {every: 1}, filters: {every: 500}}",
        "--measure",
        "none",
    ]
    assert cli.run(["train", *asked]) == 0
    out = capsys.readouterr().out
    assert "note: monitor of filters: every=500 names no moment of a training of 2 steps and 2 epochs" in out
    table = out.partition("monitor_fuzziness fuzziness at step 2")[2].partition("monitor_trajectories near_end")
    assert re.findall(r"^conv\d(?= )", table[0], flags=re.M) == ["conv1", "conv2", "conv3", "conv4"]
    assert "monitor_filters pooling_index at step 2" in out and "more layers" not in out
    assert len(re.findall(r"^conv\d(?= )", table[2], flags=re.M)) == 4


@pytest.mark.parametrize(
    ("tokens", "code", "words"),
    [
        (["small_cn", "digits"], 2, "no model 'small_cn'. Did you mean 'small_cnn'"),
        (["small_cnn", "digts"], 2, "no data set 'digts'. Did you mean 'digits'"),
        (["small_cnn"], 2, "DATA is missing"),
        ([*QUICK, "--schedule", "cosin"], 2, "schedule: no 'cosin'. Did you mean 'cosine'"),
        ([*QUICK, "--schedule", "{a: [}"], 2, "--schedule {a: [}: expected a name, or {name: {option: value}}"),
        ([*QUICK, "--augment", "crop", "flop"], 2, "augment: no 'flop'. Did you mean 'flip'"),
        ([*QUICK, "--probe", "sensitivty"], 2, "no probe 'sensitivty'"),
        ([*QUICK, "--set", "epoch=3"], 2, "no field 'epoch'. Did you mean 'epochs'"),
        ([*QUICK, "--lr", "0"], 2, "lr: expected greater than 0"),
        (["--resume"], 2, "--resume: which training?"),
        (["--resume", "--out", "nowhere"], 1, "nowhere: holds no training to go on with"),
        (["small_cnn", "mnist", "--root", "nowhere"], 1, "nowhere"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(here, capsys, tokens, code, words):
    assert cli.run(["train", *tokens]) == code
    assert words in capsys.readouterr().err
    assert not list(here.rglob("*.parquet"))


def test_a_typo_in_a_file_is_told_with_its_line(here, capsys):
    (here / "t.yaml").write_text("net: small_cnn\ndata: digits\nepohcs: 3\n")
    assert cli.run(["train", "--config", "t.yaml"]) == 2
    assert "t.yaml: line 3: no field 'epohcs'. Did you mean 'epochs'?" in capsys.readouterr().err


def test_help_is_quick_and_names_the_defaults_of_the_spec(capsys):
    code = "import sys; from flexure.cli import run; run(['train', '--help']); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "False"
    cli.run(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    spec = TrainingSpec(net="n", data="digits").model_dump()
    for field in (
        "epochs",
        "lr",
        "batch_size",
        "optimizer",
        "schedule",
        "loss",
        "precision",
        "seed",
        "device",
        "measure",
    ):
        assert re.search(rf"--{field.replace('_', '-')} .*?\[default: {spec[field]}\]", shown), field


def test_a_request_to_terminate_saves_and_says_how_to_go_on(here):
    tokens = ["train", "small_cnn", "digits", "--limit", "64", "--epochs", "1000000", "--measure", "none", "--out", "r"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flexure", *tokens, *SMALL]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if line.startswith("training on"):
                break
        for _ in range(600):
            if (here / "r" / ".partial" / "training.safetensors").is_file():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; what is finished is in r." in told
    again = shlex.split(told.partition("Go on with: ")[2].splitlines()[0])
    assert again == ["flexure", "train", "--out", "r", "--resume"]
    assert (here / "r" / ".partial" / "training.safetensors").is_file()


def test_it_goes_on_from_its_folder_alone(here, capsys):
    assert cli.run(["train", *QUICK, "--measure", "none", "--out", "r"]) == 0
    (here / "r" / "training.parquet").unlink()
    assert cli.run(["train", "--out", "r", "--resume"]) == 0
    assert (here / "r" / "training.parquet").is_file()
    assert "run folder: r" in capsys.readouterr().out
