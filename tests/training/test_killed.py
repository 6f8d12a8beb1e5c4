"""Killed without warning at any moment, in the middle of a step or of a file, a training loses nothing."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.training_to_kill import STEPS, run

from flexure.results import Result, read

PROGRAM = Path(__file__).with_name("training_to_kill.py")


def kill_at_random(folder: Path, lots: random.Random, most: int) -> int | None:
    """Start or go on with the training, and kill it after up to ``most`` further steps; None: it finished before."""
    with subprocess.Popen([sys.executable, str(PROGRAM), str(folder)], stdout=subprocess.PIPE, text=True) as process:
        wanted, seen, told = lots.randint(0, most), 0, ""
        for told in process.stdout:
            seen += told.strip().isdecimal()
            if seen >= wanted and told != "ready\n":
                break
        if told == "finished\n":
            return None
        time.sleep(lots.uniform(0, 0.02))
        process.kill()
        process.wait()
    return seen


def killed_and_finished(folder: Path, *, kills: int, seed: int) -> None:
    lots = random.Random(seed)
    survived = [kill_at_random(folder, lots, STEPS // (kills + 1)) for _ in range(kills)]
    assert sum(steps is not None for steps in survived) >= kills // 2
    subprocess.run([sys.executable, str(PROGRAM), str(folder)], check=True, stdout=subprocess.DEVNULL)


def differences(folder: Path, whole: tuple[torch.nn.Module, Result]) -> list[str]:
    """In what the training in a folder differs from one that nobody disturbed."""
    model, result = whole
    found, last = read(folder)["training"], load_file(folder / "last.safetensors")
    checks = {
        "history": found.to_frame().equals(result.to_frame()),
        "hashes": found.provenance["weights"] == result.provenance["weights"],
        "weights": all(torch.equal(value, last[name]) for name, value in model.state_dict().items()),
        "leftovers": not list(folder.rglob("*.tmp")) and not (folder / ".partial").exists(),
    }
    return [name for name, good in checks.items() if not good]


@pytest.fixture(scope="module")
def whole():
    return run(None)


def test_a_training_that_is_killed_twice_ends_as_if_nothing_had_happened(tmp_path, whole):
    killed_and_finished(tmp_path / "run", kills=2, seed=0)
    assert differences(tmp_path / "run", whole) == []


@pytest.mark.slow
def test_a_training_that_is_killed_at_twenty_moments_ends_as_if_nothing_had_happened(tmp_path, whole):
    killed_and_finished(tmp_path / "run", kills=20, seed=1)
    assert differences(tmp_path / "run", whole) == []
