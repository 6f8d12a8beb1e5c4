"""Every probe in turn: what is finished is kept, what is stopped goes on to the identical result."""

import errno
import json
import os
import sys
import types
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError, DataError, RunError, SpecimenError
from flexure.probes import PROBES, Probe
from flexure.results import Result, read
from flexure.runs import examine as room
from flexure.runs import options as options_room
from flexure.runs.examine import IncompleteRunError, examine, examine_spec, plan
from flexure.runs.spec import Spec


def net(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 6 * 6, 4))


@pytest.fixture
def x() -> torch.Tensor:
    return torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Stop:
    """A listener that presses Ctrl-C after so many steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, name: str):
        return self.step

    def step(self, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def same(a: Result, b: Result) -> bool:
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)
    assert a.arrays.keys() == b.arrays.keys()
    return all(np.array_equal(a[name], b[name]) for name in a.arrays)


def measured(*args, **settings):
    """The run of one probe, whatever others there are."""
    return examine(*args, probes=["sensitivity"], **settings)


def test_a_run_is_the_same_in_memory_on_disk_and_from_the_probe_itself(tmp_path, x):
    run = measured(net(), x, options={"sensitivity": {"draws": 2}}, batch_size=10, out=tmp_path / "run")
    alone = flexure.sensitivity(net(), x, draws=2, batch_size=10, dtype="float32")
    assert same(run["sensitivity"], alone)
    assert same(read(tmp_path / "run")["sensitivity"], alone)
    assert run.name == "run" and run.folder == tmp_path / "run"
    assert run.spec["probes"] == {"sensitivity": {"draws": 2}}
    assert run.spec["weights_hash"] == alone.provenance["specimen"]["weights_hash"]
    assert run.environment.keys() >= {"flexure", "versions", "device", "threads", "command", "started", "finished"}
    assert sorted(p.name for p in run.folder.iterdir() if not p.name.startswith(".")) == [
        "env.json",
        "sensitivity.parquet",
        "sensitivity.safetensors",
        "spec.yaml",
    ]


def test_unasked_every_probe_runs_that_is_not_expensive(x):
    assert list(examine(net(), x).results) == [name for name, probe in PROBES.items() if not probe.opt_in]


def test_a_probe_is_given_only_those_of_the_common_arguments_that_it_names(monkeypatch, x):
    seen = {}

    def frugal(specimen, data, *, seed, dtype="") -> Result:
        seen.update(specimen=specimen.name, images=len(data), seed=seed, dtype=dtype)
        return Result("frugal", "?", pd.DataFrame({"layer": ["output"]}))

    monkeypatch.setitem(sys.modules, "made_up", module := types.ModuleType("made_up"))
    module.frugal = frugal
    table = {"frugal": Probe("frugal", "made_up", lambda options: (0, 0), lambda options: None)}
    for place in (room, options_room, flexure.probes):
        monkeypatch.setattr(place, "PROBES", MappingProxyType(table))
    examine(net(), x, seed=3)
    assert seen == {"specimen": "Sequential", "images": 40, "seed": 3, "dtype": "float32"}


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch, x):
    monkeypatch.chdir(tmp_path)
    run = measured(net(), x)
    assert run.folder is None and len(run["sensitivity"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("after", [1, 4, 9, 17])
def test_a_run_that_was_stopped_goes_on_to_the_identical_result(tmp_path, x, after):
    settings = {"options": {"sensitivity": {"initialized": [net(1)]}}, "batch_size": 12, "out": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        measured(net(), x, progress=Stop(after), **settings)
    assert (tmp_path / "run" / ".partial" / "sensitivity.safetensors").exists()
    assert not read(tmp_path / "run").results
    count = Count()
    run = measured(net(), x, resume=True, progress=count, **settings)
    assert same(run["sensitivity"], measured(net(), x, **{**settings, "out": None})["sensitivity"])
    assert count.steps == 20 - after
    assert not (tmp_path / "run" / ".partial").exists()


class Count:
    steps = 0

    def __call__(self, name: str):
        return self.step

    def step(self, done: int, total: int) -> None:
        self.steps += 1


def test_stopping_twice_is_no_different(tmp_path, x):
    for resume, after in ((False, 3), (True, 2)):
        with pytest.raises(KeyboardInterrupt):
            measured(net(), x, batch_size=12, out=tmp_path / "run", resume=resume, progress=Stop(after))
    run = measured(net(), x, batch_size=12, out=tmp_path / "run", resume=True)
    assert same(run["sensitivity"], measured(net(), x, batch_size=12)["sensitivity"])


def test_a_finished_run_is_read_not_measured_again(tmp_path, x):
    first = measured(net(), x, out=tmp_path / "run")
    again = measured(net(), x, out=tmp_path / "run", resume=True, progress=Stop(1))
    assert same(first["sensitivity"], again["sensitivity"])
    before = read(tmp_path / "run").environment["earlier"]
    assert len(before) == 1 and before[0]["started"] == first.environment["started"]


def test_another_network_of_the_same_name_is_noticed(tmp_path, x):
    measured(net(), x, out=tmp_path / "run")
    with pytest.raises(
        RunError, match=r"holds a run with other settings \(weights_hash: '\w+' there, '\w+' asked for\)"
    ):
        measured(net(1), x, out=tmp_path / "run", resume=True)
    with pytest.raises(RunError, match=r"other settings \(data_hash:"):
        measured(net(), x + 0.1, out=tmp_path / "run", resume=True)


def test_a_spec_whose_weights_have_changed_is_refused(tmp_path, x):
    spec = Spec(model="net", data="x", weights_hash="0123456789abcdef")
    with pytest.raises(RunError, match=r"the network's weights have changed .* weights_hash was 0123456789abcdef, is"):
        examine_spec(spec, flexure.Specimen(net()), flexure.data.as_images(x), out=tmp_path / "run")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"probes": ["sensitivty"]}, "no probe 'sensitivty'. Did you mean 'sensitivity'?"),
        ({"options": {"sensitivity": {"drawz": 1}}}, "no option 'drawz'. Did you mean 'draws'?"),
        (
            {"probes": ["sensitivity"], "options": {"filters": {}}},
            "options given for filters, which will not run (sensitivity will).",
        ),
        ({"batch_size": 0}, "examine: batch_size: expected greater than 0; got 0."),
        ({"dtype": torch.int32}, "dtype: expected 'float32'"),
        ({"resume": True}, "resume=True needs out="),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_measured(x, arguments, words):
    with pytest.raises(ArgumentError) as caught:
        examine(net(), x, progress=Stop(1), **arguments)
    assert words in str(caught.value)


def test_an_initial_network_becomes_the_comparison(x):
    spec = Spec(model="net", data="x", batch_size=12, probes={"sensitivity": {}})
    found = examine_spec(spec, flexure.Specimen(net()), flexure.data.as_images(x), initial=net(1))["sensitivity"]
    own = flexure.sensitivity(net(1), x, batch_size=12, dtype="float32")
    assert np.array_equal(found["R_init"], own["R"]) and np.array_equal(found["R_init_se"], own["R_se"])
    taken = spec.model_copy(update={"probes": {"sensitivity": {"initialized": 1}}})
    with pytest.raises(ArgumentError, match="exclude each other"):
        examine_spec(taken, flexure.Specimen(net()), flexure.data.as_images(x), initial=net(1))


def test_the_plan_counts_the_passes():
    assert plan({"sensitivity": {}}, 1000) == ["sensitivity: 3 passes over 1,000 images"]
    assert plan({"sensitivity": {"draws": 4}}, 10, initial=True) == ["sensitivity: 18 passes over 10 images"]
    assert plan({"sensitivity": {"precision": 0.02, "initialized": 2}}, 10) == [
        "sensitivity: 15 to 480 passes over 10 images"
    ]
    assert plan({"accuracy": {}}, 10) == ["accuracy: 1 pass over 10 images"]
    assert plan({"filters": {}}, 10, initial=True) == ["filters: reads the weights, no passes over the images"]


@pytest.mark.parametrize("draws", [1, 3])
def test_the_plan_tells_the_truth(x, draws):
    result = flexure.sensitivity(net(), x, draws=draws)
    least, most = PROBES["sensitivity"].cost({"draws": draws}, 10)
    assert least == most == result.provenance["passes"]["rows"] / len(x)


@pytest.fixture
def probes(monkeypatch):
    """A table with a probe that works, one that fails and one more that works."""

    def steady(specimen, data, *, level: int = 1, batch_size, device, dtype, seed, progress, checkpoint) -> Result:
        return Result("steady", "?", pd.DataFrame({"layer": ["output"], "level": [level]}))

    def failing(specimen, data, *, batch_size, device, dtype, seed, progress, checkpoint) -> Result:
        raise SpecimenError("layer 'fc' is broken")

    def last(specimen, data, *, batch_size, device, dtype, seed, progress, checkpoint) -> Result:
        return Result("last", "?", pd.DataFrame({"layer": ["output"], "level": [3]}))

    module = types.ModuleType("made_up_probes")
    vars(module).update(steady=steady, failing=failing, last=last)
    monkeypatch.setitem(sys.modules, "made_up_probes", module)
    names = ["steady", "failing", "last"]
    table = {name: Probe(name, "made_up_probes", lambda options: (1, 1), lambda options: None) for name in names}
    for place in (room, options_room, flexure.probes):
        monkeypatch.setattr(place, "PROBES", MappingProxyType(table))
    return module


def test_a_probe_that_fails_does_not_keep_the_others_from_running(tmp_path, probes, x):
    with pytest.raises(IncompleteRunError) as caught:
        examine(net(), x, out=tmp_path / "run")
    words = "1 of 3 probes failed. failing: layer 'fc' is broken. What was measured (steady, last) is kept."
    assert str(caught.value) == words
    assert list(caught.value.run.results) == list(read(tmp_path / "run").results) == ["steady", "last"]
    about = json.loads((tmp_path / "run" / "env.json").read_text())
    assert about["errors"] == {"failing": "SpecimenError: layer 'fc' is broken"}


def test_the_only_probe_s_error_is_raised_as_it_is(probes, x):
    with pytest.raises(SpecimenError, match="layer 'fc' is broken"):
        examine(net(), x, probes=["failing"])


def test_a_failed_probe_is_asked_again_on_resume(tmp_path, probes, x):
    with pytest.raises(IncompleteRunError):
        examine(net(), x, out=tmp_path / "run")
    probes.failing = lambda *args, **kwargs: Result("failing", "?", pd.DataFrame({"layer": ["output"]}))
    run = examine(net(), x, out=tmp_path / "run", resume=True)
    assert set(run.results) == {"steady", "failing", "last"}
    assert "errors" not in read(tmp_path / "run").environment


def test_results_are_on_disk_the_moment_they_are_finished(tmp_path, probes, x):
    probes.failing = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        examine(net(), x, out=tmp_path / "run")
    assert list(read(tmp_path / "run").results) == ["steady"]


def test_a_disk_that_fills_leaves_the_results_in_the_error(tmp_path, probes, x, monkeypatch):
    def full(descriptor: int) -> None:
        if (tmp_path / "run" / "steady.parquet").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    del probes.failing
    probes.failing = probes.last
    with pytest.raises(IncompleteRunError, match=r"cannot be written \(No space left on device\)") as caught:
        examine(net(), x, probes=["steady", "last"], out=tmp_path / "run")
    assert list(caught.value.run.results) == ["steady", "last"]
    monkeypatch.undo()
    assert list(read(tmp_path / "run").results) == ["steady"]


def test_bad_data_leave_nothing_half_done(tmp_path, x):
    with pytest.raises(DataError, match="at least 2"):
        measured(net(), x[:1], out=tmp_path / "run")
    assert not read(tmp_path / "run").results
