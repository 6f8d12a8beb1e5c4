"""The run folder: one writer, one run, and partial sums that survive."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flexure.errors import RunError
from flexure.results import Result, read
from flexure.runs.folder import PartialSums, RunFolder, default_folder, fresh, latest
from flexure.runs.spec import Spec

SPEC = Spec(model="resnet20", data="digits", probes={"sensitivity": {}})
ARRAYS = {"sums": np.arange(6.0).reshape(2, 3), "n": np.array(4), "seen": np.array([True, False])}


def result(name: str = "sensitivity") -> Result:
    return Result(name, "How far?", pd.DataFrame({"layer": ["output"], "R": [0.5], "R_se": [0.1]}))


def test_a_run_is_read_back_from_what_was_written(tmp_path):
    with RunFolder.hold(tmp_path / "a" / "run", SPEC) as folder:
        folder.describe({"command": "flexure examine"})
        folder.keep(result())
    run = read(tmp_path / "a" / "run")
    assert run["sensitivity"]["R"] == [0.5]
    assert (run.spec["model"], run.environment["command"]) == ("resnet20", "flexure examine")


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    with RunFolder.hold(tmp_path, SPEC):
        pass
    with pytest.raises(RunError, match=r"holds this very run already. Go on with it by --resume"):
        RunFolder.check(tmp_path, SPEC)
    RunFolder.check(tmp_path, SPEC, resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_another_run_in_the_folder_is_refused_with_what_differs(tmp_path, resume):
    with RunFolder.hold(tmp_path, SPEC):
        pass
    other = SPEC.model_copy(update={"seed": 3, "probes": {"sensitivity": {"draws": 2}}})
    with pytest.raises(RunError) as caught, RunFolder.hold(tmp_path, other, resume=resume):
        pass
    assert "holds a run with other settings (seed: 0 there, 3 asked for; options of sensitivity: {}" in str(
        caught.value
    )
    assert Spec.read(tmp_path / "spec.yaml") == SPEC


def test_a_resumed_run_may_ask_a_further_probe(tmp_path):
    with RunFolder.hold(tmp_path, SPEC) as folder:
        folder.keep(result())
    more = SPEC.model_copy(update={"probes": {"other": {"n": 1}}})
    with RunFolder.hold(tmp_path, more, resume=True) as folder:
        assert list(folder.finished()) == ["sensitivity"]
    assert list(Spec.read(tmp_path / "spec.yaml").probes) == ["sensitivity", "other"]


def test_a_run_that_goes_on_from_moved_data_says_where_they_lie(tmp_path):
    with RunFolder.hold(tmp_path / "run", SPEC.model_copy(update={"root": "old"})):
        pass
    moved = SPEC.model_copy(update={"root": "new"})
    with RunFolder.hold(tmp_path / "run", moved, resume=True):
        pass
    assert Spec.read(tmp_path / "run" / "spec.yaml").root == "new"


def test_two_writers_in_one_folder_are_refused(tmp_path):
    code = (
        "import sys; from flexure.runs.folder import RunFolder; from flexure.runs.spec import Spec\n"
        "spec = Spec(model='resnet20', data='digits', probes={'sensitivity': {}})\n"
        "try:\n    RunFolder.check(sys.argv[1], spec, resume=True)\nexcept Exception as wrong:\n    print(wrong)"
    )
    with RunFolder.hold(tmp_path, SPEC):
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "another process is writing to this folder" in other.stdout
    RunFolder.check(tmp_path, SPEC, resume=True)


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"file/run: cannot be written \(Not a directory\). Choose another folder."):
        RunFolder.check(tmp_path / "file" / "run", SPEC)


def test_a_full_disk_keeps_what_was_there(tmp_path, monkeypatch):
    with RunFolder.hold(tmp_path, SPEC) as folder:
        sums = folder.partial_sums("sensitivity")
        sums.save({"seed": 0}, ARRAYS, force=True)
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(RunError, match=r"cannot be written \(No space left on device\). Free some space"):
            folder.keep(result())
        with pytest.raises(RunError, match="No space left"):
            sums.save({"seed": 0}, {"sums": np.zeros(3)}, force=True)
    monkeypatch.undo()
    assert np.array_equal(sums.load({"seed": 0})["sums"], ARRAYS["sums"])
    assert not list(tmp_path.rglob("*.tmp"))


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_partial_sums_come_back_exactly_and_only_for_their_settings(tmp_path):
    sums = PartialSums(tmp_path / "p.safetensors")
    assert sums.load({"seed": 0}) is None
    sums.save({"seed": 0}, ARRAYS, force=True)
    found = PartialSums(tmp_path / "p.safetensors").load({"seed": 0})
    assert found.keys() == ARRAYS.keys()
    for name, value in ARRAYS.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape and (found[name] == value).all()
    assert sums.load({"seed": 1}) is None


def test_partial_sums_are_not_written_all_the_time(tmp_path):
    sums = PartialSums(tmp_path / "p.safetensors", pause=1000)
    sums.save({}, ARRAYS)
    assert not sums.path.exists()
    PartialSums(tmp_path / "p.safetensors", pause=0).save({}, ARRAYS)
    assert sums.path.exists()


def test_damaged_partial_sums_are_named(tmp_path):
    (tmp_path / "p.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"p.safetensors: partial sums cannot be read .* Delete the file to start over"):
        PartialSums(tmp_path / "p.safetensors").load({})


def test_partial_sums_go_when_the_result_is_there(tmp_path):
    with RunFolder.hold(tmp_path, SPEC) as folder:
        for name in ("sensitivity", "other"):
            folder.partial_sums(name).save({}, ARRAYS, force=True)
        folder.keep(result())
        assert [path.name for path in (tmp_path / ".partial").iterdir()] == ["other.safetensors"]
        folder.keep(result("other"))
        assert not (tmp_path / ".partial").exists()


def test_each_process_has_its_own_partial_sums_and_the_first_alone_writes(tmp_path):
    with RunFolder.hold(tmp_path / "run", SPEC, rank=1, world_size=2) as second:
        second.partial_sums("sensitivity").save({}, ARRAYS, force=True)
        second.keep(result())
        second.describe({})
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [
        "sensitivity.rank1of2.safetensors"
    ]
    with RunFolder.hold(tmp_path / "run", SPEC, rank=0, world_size=2) as first:
        first.keep(result())
    assert not (tmp_path / "run" / ".partial").exists()


def test_what_a_killed_writer_left_behind_is_removed(tmp_path):
    (tmp_path / ".sensitivity.parquet.abc.tmp").write_text("half")
    with RunFolder.hold(tmp_path, SPEC):
        assert not list(tmp_path.glob(".*.tmp"))


def test_fresh_folders_are_numbered_and_the_latest_is_found(tmp_path):
    base = tmp_path / "demo"
    assert latest(base) == fresh(base) == base
    for name in ("demo", "demo-2", "demo-3"):
        assert fresh(base).name == name
        fresh(base).mkdir()
        assert latest(base).name == name


@pytest.mark.parametrize(
    ("model", "data", "name"),
    [
        ("resnet20", "digits", "resnet20-digits"),
        ("timm:vit_tiny.augreg", "folder:/a/b c/", "vit_tiny-b-c"),
        ("nets/my.py:make", "hub:owner/set", "make-set"),
        ("../../up.pt2", "digits", "up-digits"),
        ("<b>:..", "digits", "digits"),
    ],
)
def test_the_folder_is_named_after_network_and_data(model, data, name):
    assert default_folder(model, data) == Path("runs") / name


def test_a_check_of_a_folder_that_is_not_there_leaves_none(tmp_path):
    RunFolder.check(tmp_path / "runs" / "new", SPEC)
    assert not (tmp_path / "runs" / "new").exists()
