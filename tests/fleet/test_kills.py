"""Kill -9 of a worker and of the driver: every run finishes once, with the results of an undisturbed sweep."""

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load

from flexure.fleet import Sweep, sweep
from flexure.fleet.plan import plan
from flexure.results import Result
from tests.fleet import works
from tests.fleet.driver import start, until

COUNT = "tests.fleet.works:count"
STEPS, JOBS, SLOW = 12, 6, 20
MOMENTS = [pytest.param(seed, marks=[] if seed < 2 else [pytest.mark.slow]) for seed in range(SLOW)]


READ = {
    ".json": json.loads,
    ".yaml": yaml.safe_load,
    ".safetensors": load,
    ".parquet": lambda data: pq.read_table(pa.BufferReader(data)),
}


class Reader(threading.Thread):
    """Reads every file of a folder again and again; whatever has its final name has to be whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.wrong, self.seen, self.over = folder, [], Counter(), threading.Event()

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.over.set()
        self.join()
        assert not self.wrong, self.wrong
        assert self.seen[".json"] > 20

    def run(self) -> None:
        while not self.over.wait(0.01):
            for path in [path for path in self.folder.rglob("*") if path.suffix in READ]:
                with contextlib.suppress(FileNotFoundError):  # taken away since it was listed
                    self.judge(path, path.read_bytes())

    def judge(self, path: Path, data: bytes) -> None:
        try:
            READ[path.suffix](data)
            self.seen[path.suffix] += 1
        except Exception as wrong:
            self.wrong.append((path, repr(wrong)))


def lines(tmp_path: Path) -> list[str]:
    path = tmp_path / "book"
    return path.read_text().splitlines() if path.is_file() else []


def counting(tmp_path: Path) -> dict:
    base = {"book": str(tmp_path / "book"), "steps": STEPS, "pause": 0.005}
    return {"name": "tiny", "base": base, "grid": {"value": list(range(JOBS))}}


def undisturbed(tmp_path: Path) -> list[dict]:
    """What each job has to end with, done here without any sweep."""
    (tmp_path / "alone").mkdir()
    for value in range(JOBS):
        (tmp_path / "alone" / str(value)).mkdir()
        fields = {"book": str(tmp_path / "alone" / "book"), "steps": STEPS, "value": value}
        works.count(fields, tmp_path / "alone" / str(value))
    return [json.loads((tmp_path / "alone" / str(value) / "result.json").read_text()) for value in range(JOBS)]


def kill_a_worker(out: Path, choice: random.Random) -> bool:
    """Kill one of those that are at a job, chosen by chance; whether there was one."""
    now = Sweep.read(out)
    at_work = [now.path(job) for job, state in zip(now.jobs, now.states, strict=True) if state.status == "running"]
    if not at_work:
        return False
    os.kill(json.loads((choice.choice(at_work) / "started.json").read_text())["pid"], signal.SIGKILL)
    return True


@pytest.mark.parametrize("seed", MOMENTS)
def test_a_worker_is_killed(tmp_path, seed):
    choice = random.Random(f"worker {seed}")
    moment = choice.randrange(1, STEPS * JOBS - STEPS)
    with Reader(tmp_path / "out"):
        driver = start(tmp_path, counting(tmp_path), COUNT)
        until(lambda: len(lines(tmp_path)) >= moment)
        until(lambda: kill_a_worker(tmp_path / "out", choice))
        said = driver.communicate(timeout=120)
    assert (driver.returncode, *said) == (0, "", "")
    check(tmp_path)


@pytest.mark.parametrize("seed", MOMENTS)
def test_the_driver_is_killed(tmp_path, seed):
    choice = random.Random(f"driver {seed}")
    moment = choice.randrange(0, STEPS * JOBS - STEPS)
    with Reader(tmp_path / "out"):
        driver = start(tmp_path, counting(tmp_path), COUNT)
        until((tmp_path / "out" / "driver.json").is_file)
        until(lambda: len(lines(tmp_path)) >= moment)
        driver.kill()
        driver.communicate()
        before = Sweep.read(tmp_path / "out")
        assert before.counts["running"] == 0 and before.counts["done"] < JOBS
        done = {job.hash for job, state in zip(before.jobs, before.states, strict=True) if state.status == "done"}
        ended = finished_of(before, done)
        after = sweep(counting(tmp_path), out=tmp_path / "out", work=COUNT)
    assert finished_of(after, done) == ended, "what was done has been done again"
    check(tmp_path)


def finished_of(found: Sweep, hashes: set[str]) -> list[float]:
    return [json.loads((found.folder / "jobs" / name / "done.json").read_text())["finished"] for name in sorted(hashes)]


def check(tmp_path: Path) -> None:
    """Everything is done, with the results of an undisturbed sweep; what was saved was not computed again."""
    found = Sweep.read(tmp_path / "out")
    assert found.counts == {"done": JOBS}
    assert [json.loads((found.path(job) / "result.json").read_text()) for job in found.jobs] == undisturbed(tmp_path)
    times = Counter(lines(tmp_path))
    wanted = {f"{value} {step}" for value in range(JOBS) for step in [*range(1, STEPS + 1), "finished"]}
    assert times.keys() <= wanted and sum(times.values()) <= len(wanted) + 4
    again = len(lines(tmp_path))
    sweep(counting(tmp_path), out=tmp_path / "out", work=COUNT)
    assert len(lines(tmp_path)) == again


def real() -> dict:
    """Measurements and trainings, of some seconds each."""
    probes = {"sensitivity": {"draws": 2}, "accuracy": {}}
    common = {"data": "digits", "batch_size": 4, "threads": 1, "probes": probes}
    measured = {"model": "small_cnn", "limit": 64}
    trained = {"net": "small_cnn", "limit": 300, "epochs": 3, "measure_limit": 32}
    return {"name": "real", "base": common, "runs": [{**one, "seed": n} for one in (measured, trained) for n in (1, 2)]}


@pytest.fixture(scope="module")
def undisturbed_sweep(tmp_path_factory) -> Sweep:
    return sweep(real(), out=tmp_path_factory.mktemp("undisturbed"))


def found_by(done: Sweep) -> list[dict[str, Result]]:
    assert done.counts == {"done": 4}
    found = [dict(run.results) for run in done.runs()]
    assert [sorted(one) for one in found] == [["accuracy", "sensitivity"]] * 2 + [
        ["accuracy", "sensitivity", "training"]
    ] * 2
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SLOW))
def test_measurements_and_trainings_go_on_after_a_kill_to_the_identical_results(tmp_path, undisturbed_sweep, seed):
    choice = random.Random(f"real {seed}")
    out = tmp_path / "out"
    jobs = plan(real()).jobs
    begun = choice.randrange(1, len(jobs) + 1)
    with Reader(out):
        driver = start(tmp_path, real())
        until(lambda: sum((out / "jobs" / job.hash / "started.json").is_file() for job in jobs) >= begun)
        threading.Event().wait(choice.uniform(0, 2.0))
        if seed % 2:
            driver.kill()
            driver.communicate()
        else:
            until(lambda: kill_a_worker(out, choice) or driver.poll() is not None)
            driver.communicate(timeout=300)
            assert driver.returncode == 0
        done = sweep(real(), out=out)
    for results, wanted in zip(found_by(done), found_by(undisturbed_sweep), strict=True):
        for name, result in results.items():
            pd.testing.assert_frame_equal(result.table, wanted[name].table, check_exact=True)
    assert weights(done) == weights(undisturbed_sweep)


def weights(done: Sweep) -> list[bytes]:
    return [(done.path(job) / "last.safetensors").read_bytes() for job in done.jobs if "net" in job.fields]
