"""Many jobs by several workers: each is done once, whatever happens to the others."""

import json
import signal
import threading
import time
from pathlib import Path

import filelock
import pytest

import flexure
from flexure import cli
from flexure.errors import ArgumentError, RunError
from flexure.fleet import Sweep, folder, pool, read_sweep, sweep
from flexure.fleet.pool import cores
from flexure.results import Result
from tests.fleet.driver import start, until


@pytest.fixture
def tiny(tmp_path) -> dict:
    fields = {"book": str(tmp_path / "book"), "steps": 2}
    return {"name": "tiny", "base": fields, "grid": {"value": [0, 1, 2, 3]}}


def book(tmp_path: Path) -> list[str]:
    return (tmp_path / "book").read_text().splitlines()


def statuses(found: Sweep) -> list[str]:
    return [state.status for state in found.states]


def test_every_job_is_done_once_and_found_done_the_next_time(tmp_path, tiny):
    told = []
    done = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count", progress=lambda *now: told.append(now))
    assert statuses(done) == ["done"] * 4
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    frame = done.to_frame()
    assert list(frame.columns) == ["value", "status", "seconds", "error", "hash"]
    assert list(frame["value"]) == [0, 1, 2, 3]
    assert not list((tmp_path / "out").rglob("log.txt")) and not (tmp_path / "out" / "driver.json").exists()
    before = len(book(tmp_path))
    sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count", progress=lambda *now: told.append(now))
    assert (len(told), len(book(tmp_path))) == (4, before) == (4, 12)


def test_more_jobs_are_added_to_those_that_are_done(tmp_path, tiny):
    sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count", workers=1)
    fewer = sweep({**tiny, "grid": {"value": [3, 4]}}, out=tmp_path / "out", work="tests.fleet.works:count", workers=1)
    assert statuses(fewer) == ["done", "done"] and book(tmp_path).count("3 finished") == 1
    again = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    assert statuses(again) == ["done"] * 4 and book(tmp_path).count("0 finished") == 1


def test_one_that_fails_keeps_no_other_from_being_done_and_is_done_again_on_request(tmp_path, tiny):
    first = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:refuse")
    assert statuses(first) == ["done", "done", "failed", "done"]
    assert first.to_frame()["error"][2] == "no images in this folder"
    folder = first.path(first.jobs[2])
    assert (folder / "log.txt").read_text() == "about to fail\n"
    second = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:refuse")
    assert second.states == first.states
    third = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:refuse", retry=True)
    assert statuses(third) == ["done", "done", "failed", "done"]
    assert (folder / "log.txt").read_text() == "about to fail\n" * 2
    assert len(book(tmp_path)) == 9


def test_a_job_that_takes_its_worker_with_it_is_begun_three_times(tmp_path, tiny):
    done = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:vanish")
    assert statuses(done) == ["done", "done", "failed", "done"]
    assert done.states[2].error == "its worker died of exit code 7, as before: 3 times in all"
    folder = done.path(done.jobs[2])
    assert (folder / "log.txt").read_text() == "about to vanish\n" * 3
    failed = json.loads((folder / "failed.json").read_text())
    assert "about to vanish" in failed["traceback"]
    started = json.loads((folder / "started.json").read_text())
    assert failed["seconds"] == pytest.approx(failed["finished"] - started["began"], abs=0.1)


def test_a_worker_that_is_interrupted_alone_has_its_job_begun_again(tmp_path, tiny):
    done = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:be_interrupted")
    assert statuses(done) == ["done", "done", "failed", "done"]
    assert done.states[2].error == "its worker was interrupted, as before: 3 times in all"


def test_a_field_that_is_called_as_a_column_hides_none(tmp_path, tiny):
    done = sweep({**tiny, "grid": {"value": [1], "status": [7]}}, out=tmp_path, work="tests.fleet.works:count")
    assert done.to_frame()[["status (field)", "status"]].values.tolist() == [[7, "done"]]


def test_a_full_disk_fails_one_job_and_leaves_what_the_others_found(tmp_path, tiny):
    done = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:fill_the_disk")
    assert statuses(done) == ["done", "done", "failed", "done"]
    assert "No space left on device" in done.states[2].error
    assert all((done.path(job) / "result.json").is_file() for job in (done.jobs[0], done.jobs[1], done.jobs[3]))


def test_a_failure_that_cannot_be_written_down_is_told_all_the_same(tmp_path, tiny):
    done = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:fill_the_disk_for_good", workers=1)
    assert statuses(done) == ["done", "done", "done", "failed"]
    assert "No space left on device" in done.states[3].error and "could not be written down" in done.states[3].error
    table = Result.load(tmp_path / "out" / "sweep.parquet").table
    assert list(table["status"]) == statuses(done) and table["reason"][3] == done.states[3].error
    assert statuses(Sweep.read(tmp_path / "out"))[3] == "stopped half way"
    assert statuses(sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:fill_the_disk_for_good"))[3] == "failed"


def test_a_second_attempt_that_was_stopped_is_gone_on_with(tmp_path, tiny):
    first = sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:refuse")
    started = first.path(first.jobs[2]) / "started.json"
    again = {**json.loads(started.read_text()), "driver": "one that was stopped", "began": time.time()}
    started.write_text(json.dumps(again))
    assert statuses(Sweep.read(tmp_path / "out")) == ["done", "done", "stopped half way", "done"]
    sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:refuse")
    assert (started.parent / "log.txt").read_text() == "about to fail\n" * 2


def test_workers_that_cannot_start_end_the_sweep_with_their_words(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(pool, "_PROGRAM", "import sys; print('no such thing', file=sys.stderr); sys.exit(9)")
    with pytest.raises(RunError, match=r"no worker can be started: exit code 9\. Its last words \(.*\): no such thing"):
        sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    monkeypatch.undo()
    assert statuses(sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")) == ["done"] * 4


def test_two_drivers_on_one_folder_are_one_too_many(tmp_path, tiny):
    sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    (tmp_path / "out" / "driver.json").write_text(json.dumps({"driver": "x", "pid": 77, "host": "far", "began": 0.0}))
    with filelock.FileLock(tmp_path / "out" / ".lock"), pytest.raises(RunError) as wrong:
        sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    assert "another driver works on this sweep. It is process 77 on far. See how far it is with:" in str(wrong.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "other"}, "holds another sweep (name: 'tiny' there, 'other' asked for). Choose another folder."),
        ({"work": "tests.fleet.works:refuse"}, "holds another sweep (work: 'tests.fleet.works:count' there, "),
    ],
)
def test_a_folder_of_another_sweep_is_left_alone(tmp_path, tiny, change, words):
    sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    work = change.pop("work", "tests.fleet.works:count")
    with pytest.raises(RunError) as wrong:
        sweep({**tiny, **change}, out=tmp_path / "out", work=work)
    assert words in str(wrong.value)


def test_a_folder_of_a_newer_version_is_left_alone(tmp_path, tiny):
    (tmp_path / "jobs.json").write_text(json.dumps({"format": 2, "tasks": []}))
    for call in (lambda: sweep(tiny, out=tmp_path, work="tests.fleet.works:count"), lambda: Sweep.read(tmp_path)):
        with pytest.raises(RunError, match=r"jobs\.json: format 2, this version reads up to 1\. Update Flexure"):
            call()
    assert not (tmp_path / "sweep.yaml").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("[]", "it holds no names with values"), ('{"name": "x"}', "damaged; expected 'name'")],
)
def test_a_damaged_folder_says_so(tmp_path, content, words):
    (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(RunError, match=words):
        Sweep.read(tmp_path)


def test_folders_without_a_sweep_say_so(tmp_path, tiny):
    with pytest.raises(RunError, match=r"holds no sweep \(no jobs\.json\)"):
        Sweep.read(tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        Sweep.read(tmp_path / "nowhere")
    (tmp_path / "spec.yaml").touch()
    with pytest.raises(RunError, match="holds a single run, not a sweep"):
        sweep(tiny, out=tmp_path, work="tests.fleet.works:count")


def test_nothing_starts_where_something_is_wrong(tmp_path):
    with pytest.raises(ArgumentError, match="no field 'sead'"):
        sweep({"base": {"model": "lenet5", "data": "digits"}, "grid": {"sead": [1]}}, out=tmp_path / "out")
    with pytest.raises(ArgumentError, match="workers: expected at least 1; got 0"):
        sweep({}, out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()


def test_how_far_it_is_can_be_read_while_it_goes_on(tmp_path, tiny):
    tiny["base"] |= {"pause": 0.1, "steps": 5}
    thread = threading.Thread(target=sweep, args=(tiny,), kwargs={"out": tmp_path, "work": "tests.fleet.works:count"})
    thread.start()
    seen, left = [], []
    while thread.is_alive():
        if (tmp_path / "jobs.json").is_file():
            now = Sweep.read(tmp_path)
            seen.append(tuple(statuses(now)))
            left += [now.seconds_left] if now.seconds_left is not None else []
        time.sleep(0.05)
    thread.join()
    assert any({"running", "waiting"} == set(one) for one in seen)
    assert any({"running", "done"} <= set(one) for one in seen)
    assert left and 0 < left[0] < 60


def test_the_runs_of_a_sweep_are_those_that_examine_makes(tmp_path):
    base = {"model": "lenet5", "data": "digits", "limit": 12}
    spec = {"name": "real", "base": base, "grid": {"seed": [1, 2], "probes.sensitivity.draws": [1, 2]}}
    done = sweep(spec, out=tmp_path / "out")
    assert statuses(done) == ["done"] * 4
    runs = read_sweep(tmp_path / "out")
    assert [run.name for run in runs] == [f"seed={seed} draws={draws}" for seed in (1, 2) for draws in (1, 2)]
    network, data = flexure.resolve("lenet5", seed=2), flexure.load("digits", limit=12, seed=2, image_size=28)
    alone = flexure.sensitivity(network, data, draws=1, seed=2)
    assert runs[2]["sensitivity"].table.equals(alone.table)
    again = runs[2].environment["command"]
    assert again == f"flexure examine --config {runs[2].folder.resolve()}/spec.yaml"
    assert cli.run([*again.split()[1:], "--out", str(tmp_path / "again")]) == 0
    assert flexure.read(tmp_path / "again")["sensitivity"].table.equals(alone.table)


def test_an_interrupted_driver_takes_its_workers_with_it_and_goes_on(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(folder, "_PROBE", 0.05)
    tiny["base"] |= {"pause": 0.02, "steps": 40}
    process = start(tmp_path, tiny, "tests.fleet.works:count")
    until(lambda: (tmp_path / "book").is_file() and len({line.split()[0] for line in book(tmp_path)}) == 2)
    with pytest.raises(RunError, match=r"another driver works on this sweep\. It is process"):
        sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    at = len(book(tmp_path))
    found = Sweep.read(tmp_path / "out")
    assert statuses(found) == ["stopped half way", "stopped half way", "waiting", "waiting"]
    time.sleep(0.1)
    assert len(book(tmp_path)) == at, "a worker goes on without its driver"
    assert statuses(sweep(tiny, out=tmp_path / "out", work="tests.fleet.works:count")) == ["done"] * 4
    lines = book(tmp_path)
    assert len(set(lines)) == len(lines), "a step was made twice"
    assert len(lines) >= 4 * 41 - 2, "more is missing than a line between the save and the note of each interrupted job"
    assert sorted(line for line in lines if "finished" in line) == [f"{value} finished" for value in range(4)]


def test_workers_share_the_cores_unless_one_says_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    shared = pool.Pool(2, tmp_path)._environment(1)
    assert shared["OMP_NUM_THREADS"] == str(max(1, cores() // 2)) and shared["LOCAL_RANK"] == "1"
    assert pool.Pool(2, tmp_path, cpus=3)._environment(0)["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert pool.Pool(2, tmp_path)._environment(0)["OMP_NUM_THREADS"] == "5"
    assert pool.Pool(2, tmp_path, cpus=3)._environment(0)["OMP_NUM_THREADS"] == "3"  # the file's word is the last
