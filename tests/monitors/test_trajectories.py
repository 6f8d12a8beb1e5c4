"""The paths of weights: every extreme and every sampled point as it was, and random walks told from directed ones."""

import copy
import math
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from monitors.nets import bits, images, net, plain_loop, same
from reference.random_walk import end_place
from torch import nn

from flexure.errors import ArgumentError, RunError
from flexure.formulas.fuzziness import DeLucaTermini
from flexure.formulas.memberships import Reference, Trajectory, membership
from flexure.formulas.random_walk import end_places
from flexure.monitors import Trajectories, gather
from flexure.monitors.paths import Paths
from flexure.training import SavedState, fit

NUMBERS = ["near_end", "center_distance", "fuzziness"]


def layer(count: int = 4) -> nn.Sequential:
    """A network of so many weights of one convolution, all 0."""
    model = nn.Sequential(nn.Conv2d(1, count, 1, bias=False))
    nn.init.zeros_(model[0].weight)
    return model


def followed(paths, **options) -> Trajectories:
    """The monitor of a network whose weights take these paths, ``(points, weights)``."""
    paths = torch.as_tensor(paths)
    monitor, model = Trajectories(every=1, **options), layer(paths.shape[1])
    for step, values in enumerate(paths):
        with torch.no_grad():
            model[0].weight.copy_(values.view_as(model[0].weight))
        monitor(step, model)
    return monitor


def row(monitor: Trajectories) -> pd.Series:
    (found,) = monitor.result().to_frame().to_dict("records")
    return found


def test_weights_that_only_grow_or_shrink_end_at_an_end():
    found = row(followed([[0.0, 0.0], [0.1, -0.2], [0.3, -0.3]]))
    assert (found["near_end"], found["center_distance"], found["fuzziness"]) == (1, 1, 0)
    assert found["moved"] == 1 and found["points"] == 3 and found["n"] == 2 and found["status"] == "measured"


def test_places_are_those_in_each_weights_own_interval():
    """Ends at 1/4 of [0, 1], in the middle of [-1, 1], and near the upper end of [0, 2]."""
    found = row(followed([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [0.25, 1.0, 1.9], [0.25, 0.0, 1.85]]))
    assert found["center_distance"] == pytest.approx((0.5 + 0 + 0.85) / 3)
    assert found["near_end"] == pytest.approx(1 / 3)
    fuzziness = DeLucaTermini()(torch.tensor([0.25, 0.5, 0.925], dtype=torch.float64))
    assert found["fuzziness"] == pytest.approx(float(fuzziness))
    d = np.array([0.5, 0.0, 0.85])
    assert found["center_distance_se"] == pytest.approx(d.std(ddof=1) / math.sqrt(3))


def test_weights_that_never_moved_have_no_interval_and_are_counted():
    found = row(followed([[0.0, 0.5], [0.1, 0.5], [0.2, 0.5]]))
    assert found["moved"] == 0.5 and found["near_end"] == 1
    found = row(followed([[0.0, 0.5], [0.0, 0.5]]))
    assert found["status"] == "no weight has moved" and math.isnan(found["near_end"]) and found["moved"] != 0.5


def test_weights_that_are_not_finite_are_left_out_and_counted():
    found = row(followed([[0.0, 0.0, 0.0], [0.1, math.nan, math.inf], [0.2, 0.1, 0.1]]))
    assert found["status"] == "2 of 3 weights are not finite and left out"
    assert found["near_end"] == 1 and found["moved"] == pytest.approx(1 / 3)
    assert math.isfinite(found["near_end_null"])
    assert row(followed([[math.nan], [0.1]]))["status"] == "no weight is finite"


def test_every_weight_of_a_training_is_followed_and_a_sample_is_kept_whole():
    told, monitor = [], Trajectories(every=2, layers="*", sample=7, seed=3)

    def watch(step, model):
        told.append(copy.deepcopy(model))
        monitor(step, model)

    plain_loop(net(), watch, steps=12)
    found, snapshots = monitor.result(), told[::2]
    for number, name in enumerate(("0", "5")):
        course = torch.stack([dict(one.named_parameters())[f"{name}.weight"].detach().flatten() for one in snapshots])
        places = np.array([end_place(path.diff().double().tolist()) for path in course.T])
        expected = [np.mean((places <= 0.1) | (places >= 0.9)), np.abs(2 * places - 1).mean()]
        np.testing.assert_allclose(found.table.loc[number, NUMBERS[:2]].astype(float), expected, rtol=1e-5)
        own = found["path_layer"] == number
        assert own.sum() == 7
        np.testing.assert_array_equal(found["path"][own].T, course[:, found["path_weight"][own]].double())
        low, high = monitor.intervals()[name]
        assert torch.equal(low.flatten(), course.amin(0)) and torch.equal(high.flatten(), course.amax(0))
    assert found["step"].tolist() == list(range(0, 13, 2))


def test_the_intervals_are_those_that_fuzziness_asks_for():
    monitor, model = Trajectories(every=1), net()
    plain_loop(model, monitor)
    low, high = monitor.intervals()["0"]
    weight = model[0].weight.detach()
    mu = membership(weight, Trajectory().ends(weight, Reference(lowest=low, highest=high)))
    assert float(DeLucaTermini()(mu)) == pytest.approx(monitor.result()["fuzziness"][0], rel=1e-5)


def test_walks_take_the_steps_that_the_weights_took():
    monitor = followed([[0.0, 0.0], [3.0, -4.0], [3.0, -4.0], [4.0, -4.0]])
    assert monitor._paths.layers[0].moves == pytest.approx([math.sqrt(12.5), 0.0, math.sqrt(0.5)])
    places = end_places(torch.tensor([math.sqrt(12.5), 0.0, math.sqrt(0.5)]), walks=4000, seed=0)
    near = ((places <= 0.1) | (places >= 0.9)).double().mean()
    assert row(monitor)["near_end_null"] == pytest.approx(float(near))


@pytest.mark.parametrize("decay", [1.0, 0.9])
def test_weights_that_walk_at_random_are_told_to_do_so(decay):
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(30, 3000, generator=generator) * decay ** torch.arange(30.0)[:, None]
    found = row(followed(torch.cat([torch.zeros(1, 3000), steps.cumsum(0)])))
    for name in NUMBERS:
        error = math.hypot(found[f"{name}_se"], found[f"{name}_null_se"])
        assert abs(found[name] - found[f"{name}_null"]) <= 4 * error, name
    drift = torch.cat([torch.zeros(1, 3000), (steps + 0.5).cumsum(0)])
    found = row(followed(drift))
    assert found["near_end"] - found["near_end_null"] > 10 * math.hypot(found["near_end_se"], found["near_end_null_se"])


def test_a_small_sample_is_part_of_a_large_one_and_another_seed_samples_others():
    few, many, other = (
        followed(torch.zeros(2, 200), sample=sample, seed=seed).result()["path_weight"]
        for sample, seed in ((5, 0), (20, 0), (5, 1))
    )
    assert len(few) == 5 and set(few) < set(many) and set(few) != set(other)
    assert len(followed(torch.zeros(2, 3), sample=5).result()["path_weight"]) == 3


def test_somebodys_own_training_is_the_same_bit_for_bit_with_its_weights_followed():
    alone, watched = net(), net()
    plain_loop(alone, lambda step, model: None)
    after = torch.get_rng_state()
    plain_loop(watched, Trajectories(every=1, layers="*"))
    assert same(bits(alone), bits(watched)) and torch.equal(torch.get_rng_state(), after)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
    assert all(module.training for module in watched.modules())


def test_our_own_training_leaves_a_result_with_epochs(tmp_path):
    monitor = Trajectories(every="epoch", out=tmp_path)
    fit(net(), images(), epochs=3, lr=0.1, batch_size=4, callbacks=[monitor])
    found = monitor.result()
    assert found["step"].tolist() == [0, 3, 6, 9] and found["epoch"].tolist() == [0, 1, 2, 3]
    assert (tmp_path / "monitor_trajectories.parquet").is_file()
    gathered = gather(tmp_path, "trajectories")
    pd.testing.assert_frame_equal(gathered.to_frame(), found.to_frame())
    np.testing.assert_array_equal(gathered["path"], found["path"])


@pytest.mark.parametrize("stop", [4, 5])
def test_a_training_that_is_resumed_has_the_paths_of_one_that_was_not(tmp_path, stop):
    def train(out, saved, progress=None):
        monitor = Trajectories(every=2, out=out)
        fit(net(), images(), epochs=3, lr=0.1, batch_size=4, callbacks=[monitor], saved=saved, progress=progress)
        return monitor.result()

    def stopped(step, total):
        if step == stop:
            raise RuntimeError("power cut")

    saved = SavedState(tmp_path / "state", pause=0.0)
    with pytest.raises(RuntimeError, match="power cut"):
        train(tmp_path / "one", saved, stopped)
    resumed, whole = train(tmp_path / "one", saved), train(None, None)
    pd.testing.assert_frame_equal(resumed.to_frame(), whole.to_frame())
    np.testing.assert_array_equal(resumed["path"], whole["path"])
    assert resumed["step"].tolist() == [0, 2, 4, 6, 8, 9] and resumed.notes == whole.notes


KILLED = """
import os, signal, sys
from monitors.nets import images, net, plain_loop
from flexure.monitors import Trajectories
monitor = Trajectories(every=1, out=sys.argv[1])
def watch(step, model):
    monitor(step, model)
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
plain_loop(net(), watch)
"""


def test_a_training_that_is_killed_keeps_its_paths(tmp_path, request):
    paths = os.pathsep.join([str(request.config.rootpath / "tests"), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    assert ended.returncode == -9
    assert gather(tmp_path, "trajectories")["step"].tolist() == [0, 1, 2, 3]
    again, whole = Trajectories(every=1, out=tmp_path), Trajectories(every=1)
    plain_loop(net(), again)
    plain_loop(net(), whole)
    pd.testing.assert_frame_equal(again.result().to_frame(), whole.result().to_frame())


def test_paths_that_were_gone_back_on_are_told(tmp_path):
    followed([[0.0], [0.1], [0.5], [0.2]], out=tmp_path)
    monitor, model = Trajectories(every=1, out=tmp_path), layer(1)
    for step, value in ((1, 0.1), (2, 0.15), (3, 0.2)):
        nn.init.constant_(model[0].weight, value)
        monitor.resume(model, 1) if step == 1 else monitor.on_step_end(step, model)
    found = monitor.result()
    assert found["path"].tolist() == [pytest.approx([0.0, 0.1, 0.15, 0.2])]
    assert float(monitor.intervals()["0"][1]) == 0.5  # of the way that was left
    assert any(note.startswith("1 moments were told again with other weights") for note in found.notes)


def test_another_training_is_refused_and_one_from_the_same_weights_takes_the_place(tmp_path):
    plain_loop(net(), Trajectories(every=2, out=tmp_path))
    with pytest.raises(
        RunError, match=r"trajectories.safetensors: holds measurements of another training, at steps 0,"
    ):
        plain_loop(net(seed=2), Trajectories(every=2, out=tmp_path))
    plain_loop(net(), Trajectories(every=3, out=tmp_path), steps=3)
    assert gather(tmp_path, "trajectories")["step"].tolist() == [0, 3]
    with pytest.raises(RunError, match=r"holds the paths of other weights \(sample: 32 there, 5 asked for\)"):
        Trajectories(out=tmp_path, sample=5)


def test_a_disk_that_is_full_loses_nothing(tmp_path, monkeypatch):
    def refuse(self, path):
        raise RunError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Paths, "save", refuse)
        monitor, model = Trajectories(every=2, out=tmp_path), net()
        plain_loop(model, monitor)
        assert monitor.result()["step"].tolist() == [0, 2, 4, 6]
        assert monitor.result().notes[-1].startswith("The paths could not be written to")
    monitor.end(model)
    assert gather(tmp_path, "trajectories")["step"].tolist() == [0, 2, 4, 6]
    assert not any("could not be written" in note for note in monitor.result().notes)


def test_a_damaged_file_is_said_so(tmp_path):
    plain_loop(net(), Trajectories(every=2, out=tmp_path))
    path = tmp_path / "monitors" / "trajectories.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    for read in (lambda: gather(tmp_path, "trajectories"), lambda: Trajectories(every=2, out=tmp_path)):
        with pytest.raises(RunError, match="the paths of weights cannot be read"):
            read()
    with pytest.raises(RunError, match=r"no such file. Is it the folder that Trajectories\(out=…\) was given"):
        gather(tmp_path / "elsewhere", "trajectories")


def test_a_network_without_convolutions_has_no_rows_and_says_what_to_name():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    monitor = Trajectories()
    for step in (0, 1):
        monitor.measure(step, model)
    found = monitor.result()
    assert len(found) == 0 and "it has no convolution. Name others: layers='*'" in found.notes[0]


def test_a_layer_that_goes_or_changes_its_shape_is_named():
    model, monitor = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)), Trajectories(every=1)
    monitor(0, model)
    monitor(1, nn.Sequential(nn.Conv2d(1, 3, 1)))
    assert list(monitor.result()["status"]) == ["of another shape at step 1", "gone at step 1"]


def test_one_look_is_no_path_and_a_schedule_that_never_comes_is_told():
    monitor = Trajectories(every=50)
    monitor(0, net())
    assert list(monitor.result()["status"]) == ["looked at once: a point is no path"]
    monitor.measure(9, net(seed=2))
    assert monitor.result().notes[-1].startswith("every=50 has named none of the 9 steps so far")


@pytest.mark.parametrize(("options", "words"), [
    ({"sample": -1}, "sample must be a whole number of at least 0; got -1"),
    ({"walks": 1}, "walks must be a whole number of at least 2; got 1"),
    ({"index": "luca"}, "no index of fuzziness 'luca'"),
    ({"every": 0}, "every: expected a number of steps"),
])  # fmt: skip
def test_wrong_arguments_are_refused_at_once(options, words):
    with pytest.raises(ArgumentError, match=words):
        Trajectories(**options)


def test_layers_that_are_not_there_are_refused_at_the_first_look():
    with pytest.raises(ArgumentError, match="Trajectories: no weight matches 'conv1'"):
        Trajectories(layers="conv1")(0, net())
    with pytest.raises(RunError, match="nothing was measured yet"):
        Trajectories().result()


def test_another_index_is_written_with_its_options(tmp_path):
    monitor = followed([[0.0], [1.0], [0.25]], out=tmp_path, index={"yager": {"p": 1}})
    assert row(monitor)["fuzziness"] == pytest.approx(0.5)
    assert gather(tmp_path, "trajectories")["fuzziness"][0] == pytest.approx(0.5)
