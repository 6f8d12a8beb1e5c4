"""Files of results and runs: what cannot be read says why, and nothing half-written stays."""

import errno
import hashlib
import json
import os
import pickle
import resource
import stat
import subprocess
import sys

import gauge
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from flexure.errors import ArgumentError, RunError
from flexure.results import Result, Run, read, write_atomically

# Files that are not what they should be


@pytest.fixture
def saved(tmp_path):
    return gauge.result().save(tmp_path)


def test_a_missing_file(tmp_path):
    with pytest.raises(RunError, match=r"nowhere.parquet: no such file"):
        Result.load(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize("kept", [0, 1, 4, 100, -1])
def test_a_truncated_table(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(RunError, match=r"sensitivity.parquet: not a readable Parquet file \("):
        Result.load(saved)


def test_a_folder_in_place_of_a_table(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(RunError, match=r"a.parquet: not a readable Parquet file"):
        Result.load(tmp_path / "a.parquet")


def test_a_table_of_someone_else(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(RunError, match=r"a Parquet file, but not written by Flexure \(no 'flexure' metadata\)"):
        Result.load(tmp_path / "a.parquet")


def forge(path, change):
    """Rewrite what a table's file says about itself."""
    frame = pq.read_table(path)
    about = json.loads(frame.schema.metadata[b"flexure"])
    frame = frame.replace_schema_metadata({**frame.schema.metadata, b"flexure": json.dumps(change(about)).encode()})
    pq.write_table(frame, path)


def test_a_newer_format(saved):
    forge(saved, lambda about: about | {"format": 3})
    with pytest.raises(RunError, match=r"format 3, this version reads up to 2. Update Flexure"):
        Result.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: [],
        lambda about: {},
        lambda about: about | {"format": "new"},
        lambda about: about | {"probe": "../../etc/passwd"},
        lambda about: about | {"units": 3},
        lambda about: about | {"surprise": 3},
        lambda about: about | {"arrays": "deadbeef"},
    ],
)
def test_damaged_metadata(saved, change):
    forge(saved, change)
    with pytest.raises(RunError, match=r"sensitivity.parquet: its 'flexure' metadata are damaged \("):
        Result.load(saved)


def test_arrays_that_are_gone(saved):
    saved.with_suffix(".safetensors").unlink()
    with pytest.raises(RunError, match=r"sensitivity.safetensors: the arrays of the table beside it cannot be read"):
        Result.load(saved)


@pytest.mark.parametrize("other", [b"", b"\x10\0\0\0\0\0\0\0{}", None])
def test_arrays_of_another_table(saved, other):
    arrays = saved.with_suffix(".safetensors")
    if other is None:
        save_file({"similarity": np.ones(3)}, arrays)
    else:
        arrays.write_bytes(other)
    with pytest.raises(RunError, match=r"not the arrays that belong to the table beside it. Measure again"):
        Result.load(saved)


def test_arrays_that_are_forged_to_fit_are_still_no_program(saved):
    class Program:
        def __reduce__(self):
            return os.mkdir, (str(saved.parent / "executed"),)

    code = pickle.dumps(Program())
    saved.with_suffix(".safetensors").write_bytes(code)
    fitting = {"names": [], "hash": hashlib.blake2b(code, digest_size=16).hexdigest()}
    forge(saved, lambda about: about | {"arrays": fitting})
    with pytest.raises(RunError, match=r"sensitivity.safetensors: the arrays of the table beside it cannot be read"):
        Result.load(saved)
    saved.write_bytes(code)
    with pytest.raises(RunError, match=r"not a readable Parquet file"):
        Result.load(saved)
    (saved.parent / "spec.yaml").write_text(f"!!python/object/apply:os.mkdir ['{saved.parent}/executed']")
    with pytest.raises(RunError, match=r"spec.yaml or env.json cannot be read"):
        read(saved.parent)
    assert not (saved.parent / "executed").exists()


# Disks that refuse


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("at", [1, 2])
def test_a_full_disk_leaves_the_old_result_and_nothing_else(saved, monkeypatch, at):
    before, calls = snapshot(saved.parent), []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r": cannot be written \(No space left on device\). Free some space or choose"):
        gauge.result(notes=["newer"], arrays={"similarity": np.zeros(9)}).save(saved.parent)
    assert snapshot(saved.parent) == before
    assert Result.load(saved).notes == gauge.result().notes


def test_a_file_size_limit_leaves_the_old_result_and_nothing_else(saved):
    before, (soft, hard) = snapshot(saved.parent), resource.getrlimit(resource.RLIMIT_FSIZE)
    large = gauge.result(arrays={"similarity": np.zeros(100_000)})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(RunError, match=r"sensitivity.safetensors: cannot be written \(File too large\)"):
            large.save(saved.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert snapshot(saved.parent) == before


def test_a_power_cut_between_the_two_files_is_noticed(saved, monkeypatch):
    replace = type(saved).replace

    def cut(self, target):
        if target.suffix == ".parquet":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(type(saved), "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        gauge.result(arrays={"similarity": np.zeros(9)}).save(saved.parent)
    assert {path.suffix for path in saved.parent.iterdir()} == {".parquet", ".safetensors"}
    with pytest.raises(RunError, match=r"not the arrays that belong to the table beside it"):
        Result.load(saved)


def test_a_path_below_a_regular_file(saved):
    before = snapshot(saved.parent)
    with pytest.raises(RunError, match=r"sensitivity.parquet/deep/.*: cannot be written \(.*\). Free some space"):
        gauge.result().save(saved / "deep")
    assert snapshot(saved.parent) == before


def test_a_folder_where_the_file_should_be(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(RunError, match=r"a.txt: cannot be written \(Is a directory\)"):
        write_atomically(tmp_path / "a.txt", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_may_not_be_written(saved):
    saved.parent.chmod(stat.S_IREAD | stat.S_IEXEC)
    try:
        with pytest.raises(RunError, match=r"cannot be written \(Permission denied\)"):
            gauge.result().save(saved.parent)
    finally:
        saved.parent.chmod(0o700)


def test_files_are_replaced_whole(tmp_path):
    path = write_atomically(tmp_path / "deep" / "a.txt", b"old")
    assert write_atomically(str(path), b"new") == path
    assert snapshot(path.parent) == {"a.txt": b"new"}


# Runs


def folder_with(tmp_path, spec="probes:\n  sensitivity: {}\n  layers: {}\n", environment='{"device": "cpu"}'):
    (tmp_path / "spec.yaml").write_text(spec)
    if environment is not None:
        (tmp_path / "env.json").write_text(environment)
    return tmp_path


def test_several_results_of_one_probe_lie_in_a_folder_under_names_of_their_own(tmp_path):
    for number in (1, 2):
        one = Result("filters", "How flat?", pd.DataFrame({"x": [number]}), {"a": np.full(3, number)})
        assert one.save(tmp_path, name=f"{number:03d}") == tmp_path / f"{number:03d}.parquet"
    found = [Result.load(tmp_path / f"{number:03d}.parquet") for number in (1, 2)]
    assert [(each.probe, each["x"][0], each["a"][0]) for each in found] == [("filters", 1, 1), ("filters", 2, 2)]
    with pytest.raises(ArgumentError, match=r"must be a plain name; got '\.\./x'"):
        found[0].save(tmp_path, name="../x")


def test_a_run_is_read_in_the_order_it_was_asked_for(tmp_path):
    folder = folder_with(tmp_path)
    for probe in ("layers", "zebra", "sensitivity", "training", "another"):
        gauge.result(probe=probe).save(folder)
    run = read(str(folder))
    assert list(run.results) == ["training", "sensitivity", "layers", "another", "zebra"]
    assert (run.name, run.folder) == (tmp_path.name, tmp_path)
    assert run.spec["probes"] == {"sensitivity": {}, "layers": {}} and run.environment == {"device": "cpu"}
    assert run["layers"].probe == "layers"
    assert "sensitivity: 3 rows" in repr(run)


def test_an_unfinished_run_comes_back_with_what_it_has(tmp_path):
    run = read(folder_with(tmp_path, spec="model: net\n", environment=None))
    assert not run.results and not run.environment
    assert "nothing finished yet" in repr(run)
    assert not read(folder_with(tmp_path, spec="probes:\n")).results


def test_a_run_is_frozen_and_names_what_it_lacks():
    run = Run("mine", {}, {}, {"layers": gauge.result(probe="layers")})
    with pytest.raises(TypeError):
        run.results["layers"] = 1
    with pytest.raises(ArgumentError, match=r"run 'mine': no result of 'layer'. Did you mean 'layers'\? Valid: layers"):
        run["layer"]
    assert repr(run).startswith("run 'mine'\n")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", r"none: no such folder. A run folder is what `flexure examine --out` writes"),
        (lambda folder: folder, r"holds no run \(no spec.yaml\)"),
        (lambda folder: folder_with(folder, spec="a: [1"), r"spec.yaml or env.json cannot be read \("),
        (lambda folder: folder_with(folder, spec=""), r"spec.yaml or env.json cannot be read \(it holds no names"),
        (lambda folder: folder_with(folder, spec="- a"), r"spec.yaml or env.json cannot be read \(it holds no names"),
        (lambda folder: folder_with(folder, environment="[]"), r"cannot be read \(it holds no names with values"),
        (lambda folder: folder_with(folder, environment="{"), r"spec.yaml or env.json cannot be read"),
    ],
)
def test_folders_that_are_no_runs(tmp_path, make, words):
    with pytest.raises(RunError, match=words):
        read(make(tmp_path))


def test_a_damaged_result_in_a_run_is_named(tmp_path):
    gauge.result().save(folder_with(tmp_path)).write_bytes(b"PAR1")
    with pytest.raises(RunError, match=r"sensitivity.parquet: not a readable Parquet file"):
        read(tmp_path)


def test_results_are_read_without_torch():
    code = "import sys, flexure.results; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_old_extension_types_are_not_unpickled(tmp_path):
    """Arrow once let a column's type be a pickle; such a file must come back as plain storage or not at all."""
    evil = b"cposix\nsystem\n(S'touch " + str(tmp_path / "executed").encode() + b"'\ntR."
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": evil}
    field = pa.field("D", pa.float64(), metadata=kind)
    about = json.dumps(
        {"format": 1, "probe": "a", "question": "", "units": {}, "provenance": {}, "notes": [], "arrays": None}
    )
    table = pa.table([pa.array([1.0])], schema=pa.schema([field], metadata={b"flexure": about.encode()}))
    pq.write_table(table, tmp_path / "a.parquet")
    assert Result.load(tmp_path / "a.parquet")["D"].tolist() == [1.0]
    assert not (tmp_path / "executed").exists()
