"""One job: how it ends, and what it leaves behind."""

import errno
import json
import os
import threading

import filelock
import pytest

import flexure
from flexure.errors import ArgumentError
from flexure.fleet import jobs
from flexure.fleet.jobs import Order, Outcome, attempt, carry_out, fail, is_done, named
from tests.fleet import works

HASH = "0123456789abcdef"


@pytest.fixture
def order(tmp_path) -> Order:
    fields = {"book": str(tmp_path / "book"), "steps": 2, "value": 1}
    return Order(HASH, fields, str(tmp_path / "job"), "tests.fleet.works:count", "me")


def but(order: Order, **changes) -> Order:
    return Order(**{**order.__dict__, **changes})


def lines(tmp_path) -> list[str]:
    return (tmp_path / "book").read_text().splitlines()


def test_a_job_that_is_done_says_so_and_is_not_done_again(tmp_path, order):
    assert attempt(order) == Outcome(HASH, "done")
    written = json.loads((tmp_path / "job" / "done.json").read_text())
    assert written.keys() == {"format", "hash", "driver", "seconds", "finished"}
    assert (written["hash"], written["driver"]) == (HASH, "me")
    assert attempt(order) == Outcome(HASH, "done")
    assert lines(tmp_path) == ["1 1", "1 2", "1 finished"]


def test_what_another_job_finished_in_the_same_folder_does_not_count(tmp_path, order):
    attempt(order)
    assert is_done(tmp_path / "job", HASH) and not is_done(tmp_path / "job", HASH[::-1])


def test_a_job_that_raises_leaves_its_traceback(tmp_path, order):
    order = but(order, work="tests.fleet.works:refuse", fields={**order.fields, "value": 2})
    assert attempt(order) == Outcome(HASH, "failed", "no images in this folder")
    written = json.loads((tmp_path / "job" / "failed.json").read_text())
    assert written["error"] == "no images in this folder"
    assert "in refuse\n    raise DataError(" in written["traceback"]
    assert not (tmp_path / "job" / "done.json").exists()


def test_an_error_that_is_not_ours_is_told_with_its_class(order):
    assert attempt(but(order, fields={})).error == "KeyError: 'book'"
    assert attempt(but(order, work="tests.fleet.works:leave")).error == "SystemExit: 3"


def test_an_error_whose_words_are_no_text_is_written_down_all_the_same(tmp_path, order):
    wrong = "no image in caf\\udce9.png"
    assert attempt(but(order, work="tests.fleet.works:misname")) == Outcome(HASH, "failed", wrong)
    written = json.loads((tmp_path / "job" / "failed.json").read_text())
    assert written["error"] == wrong and wrong in written["traceback"]


def test_success_removes_the_failure_before(tmp_path, order):
    attempt(but(order, work="tests.fleet.works:leave"))
    assert (tmp_path / "job" / "failed.json").exists()
    assert attempt(order).status == "done"
    assert not (tmp_path / "job" / "failed.json").exists()


def test_an_interrupt_is_neither_success_nor_failure(tmp_path, order, monkeypatch):
    monkeypatch.setattr(works, "count", lambda fields, folder: (_ for _ in ()).throw(KeyboardInterrupt))
    assert attempt(order) == Outcome(HASH, "stopped")
    assert {path.name for path in (tmp_path / "job").iterdir()} == {".job.lock", "started.json"}


def test_a_full_disk_fails_the_job_also_where_that_cannot_be_written_down(tmp_path, order, monkeypatch):
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    outcome = attempt(order)
    assert outcome.status == "failed"
    assert "No space left on device" in outcome.error and "This could not be written down" in outcome.error
    monkeypatch.undo()
    assert {path.name for path in (tmp_path / "job").iterdir()} == {".job.lock"}
    assert attempt(order).status == "done"


def test_a_folder_that_somebody_holds_is_waited_for(tmp_path, order, monkeypatch):
    (tmp_path / "job").mkdir()
    lock = filelock.FileLock(tmp_path / "job" / ".job.lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    assert attempt(order).status == "done"
    with lock:
        monkeypatch.setattr(jobs, "_PATIENCE", 0.1)
        assert attempt(order) == Outcome(
            HASH, "failed", f"{tmp_path / 'job'}: another process is still at this job. Wait for it, or end it."
        )


def test_leftovers_of_a_write_that_was_cut_off_are_removed(tmp_path, order):
    (tmp_path / "job" / ".partial").mkdir(parents=True)
    leftover = tmp_path / "job" / ".partial" / ".sums.safetensors.12ab.tmp"
    leftover.touch()
    attempt(order)
    assert not leftover.exists()


def test_a_failure_from_outside_does_not_overrule_success(tmp_path, order):
    assert fail(order, "its worker died") == Outcome(HASH, "failed", "its worker died")
    attempt(order)
    assert fail(order, "its worker died") == Outcome(HASH, "done")
    assert not (tmp_path / "job" / "failed.json").exists()


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("nowhere:function", "'nowhere:function': cannot be imported"),
        ("tests.fleet.works:nothing", "cannot be imported"),
        ("tests.fleet.works", "cannot be imported"),
        ("os:sep", "not a function; expected module:function"),
        (lambda fields, folder: None, "other processes cannot import this; expected a function of a module"),
    ],
)
def test_work_that_another_process_cannot_import_is_refused(work, words):
    with pytest.raises(ArgumentError) as wrong:
        named(work)
    assert words in str(wrong.value)


def test_work_of_the_main_program_is_refused(monkeypatch):
    monkeypatch.setattr(works.count, "__module__", "__main__")
    with pytest.raises(ArgumentError, match="what is in the main program; move it to a module"):
        named(works.count)


def test_work_is_known_by_its_name():
    assert named(works.count) == named("tests.fleet.works:count") == "tests.fleet.works:count"


def test_a_measurement_is_the_run_that_examine_makes(tmp_path):
    fields = {"model": "lenet5", "data": "digits", "limit": 12, "probes": {"sensitivity": {"layers": ["fc*"]}}}
    carry_out(fields, tmp_path)
    carry_out({**fields, "root": "elsewhere"}, tmp_path)  # goes on with nothing, wherever the data lie by now
    run = flexure.read(tmp_path)
    alone = flexure.sensitivity(
        flexure.resolve("lenet5"), flexure.load("digits", limit=12, image_size=28), layers=["fc*"]
    )
    assert run.spec["limit"] == 12
    assert run["sensitivity"].table.equals(alone.table)
