"""Monitors: the training never notices, and nothing that was measured is lost."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from monitors.nets import bits, images, net, numbers, plain_loop, same, steps_of
from torch import nn

import flexure
from flexure import Monitor, Specimen
from flexure.errors import ArgumentError, RunError
from flexure.monitors import gather
from flexure.results import Result
from flexure.training import History, fit

NOTHING = lambda step, model: None  # noqa: E731


def test_somebodys_own_training_is_the_same_bit_for_bit_with_a_monitor():
    alone, watched = net(), net()
    plain_loop(alone, NOTHING)
    after = torch.get_rng_state()
    plain_loop(watched, Monitor("sensitivity", images(), every=1))
    assert same(bits(alone), bits(watched))
    assert torch.equal(torch.get_rng_state(), after)
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))
    assert watched.training and all(module.training for module in watched.modules())


def test_our_own_training_is_the_same_bit_for_bit_with_a_monitor():
    alone, watched = net(), net()
    fit(alone, images(), epochs=3, lr=0.1, batch_size=4)
    fit(watched, images(), epochs=3, lr=0.1, batch_size=4, callbacks=[Monitor("sensitivity", images(), every=1)])
    assert same(bits(alone), bits(watched))


def test_each_step_says_what_the_probe_says_of_the_network_at_that_step():
    told, monitor = {}, Monitor("sensitivity", images(), every=2, options={"draws": 2}, seed=4)

    def watch(step, model):
        told[step] = copy.deepcopy(model)
        monitor(step, model)

    plain_loop(net(), watch)
    found = numbers(monitor.result())
    assert list(found["step"].unique()) == [0, 2, 4, 6]
    for step in (0, 2, 4, 6):
        expected = flexure.sensitivity(told[step], images(), draws=2, seed=4).to_frame()
        part = found[found["step"] == step].reset_index(drop=True)
        pd.testing.assert_frame_equal(part.drop(columns="step"), expected[list(part.columns[1:])])


def test_the_start_the_ends_of_epochs_and_the_end_are_measured_with_their_steps(tmp_path):
    monitor = Monitor("sensitivity", images(), every="2 epochs", out=tmp_path)
    fit(net(), images(), epochs=5, lr=0.1, batch_size=4, callbacks=[monitor])
    output = monitor.result().to_frame().query("layer == 'output'")
    assert list(output["step"]) == [0, 6, 12, 15] and list(output["epoch"]) == [0, 2, 4, 5]
    names = [path.name for path in sorted((tmp_path / "monitors" / "sensitivity").iterdir())]
    assert names == [f"{step:09d}.parquet" for step in (0, 6, 12, 15)]


def test_epochs_between_their_ends_follow_from_the_steps():
    monitor = Monitor("sensitivity", images(), every=[1, 3, 4], options={"layers": ["5"]})
    fit(net(), images(), epochs=2, lr=0.1, batch_size=4, callbacks=[monitor])
    output = monitor.result().to_frame().query("layer == 'output'")
    assert list(output["step"]) == [0, 1, 3, 4, 6]
    np.testing.assert_allclose(output["epoch"], [0, 1 / 3, 1, 4 / 3, 2])


def test_a_step_that_ends_an_epoch_has_its_epoch():
    monitor = Monitor("sensitivity", images(), every=3, options={"layers": ["5"]})
    fit(net(), images(), epochs=4, lr=0.1, batch_size=6, callbacks=[monitor])
    output = monitor.result().to_frame().query("layer == 'output'")
    assert list(output["step"]) == [0, 3, 6, 8] and list(output["epoch"]) == [0, 1.5, 3, 4]
    own = {step: one.to_frame()["epoch"].iloc[0] for step, one in monitor._kept.items()}
    assert own[6] == 3 and np.isnan(own[3])


def test_a_step_that_was_measured_learns_its_epoch_when_it_is_told(tmp_path):
    monitor, model = Monitor("sensitivity", images(), every=2, out=tmp_path), net()
    for step, epoch in ((0, None), (2, None), (2, 1)):
        monitor(step, model, epoch=epoch)
    assert set(gather(tmp_path, "sensitivity").to_frame().query("step == 2")["epoch"]) == {1}


def test_the_end_writes_all_steps_as_one_result_of_the_run(tmp_path):
    monitor = Monitor("sensitivity", images(), every="epoch", out=tmp_path)
    fit(net(), images(), epochs=2, lr=0.1, callbacks=[monitor])
    (tmp_path / "spec.yaml").write_text("net: mine\n")
    run = flexure.read(tmp_path)
    assert list(run.results) == ["monitor_sensitivity"]
    pd.testing.assert_frame_equal(run["monitor_sensitivity"].to_frame(), monitor.result().to_frame())
    assert run["monitor_sensitivity"].question.endswith("while it learns?")


def test_every_probe_can_be_a_monitor():
    monitor = Monitor("accuracy", images(), every=3, options={"corruption": [0.0, 1.0]})
    plain_loop(net(), monitor)
    found = monitor.result().to_frame()
    assert list(found["step"]) == [0, 0, 3, 3, 6, 6] and list(found["corruption"]) == [0, 1] * 3


def test_the_specimen_says_how_the_network_is_used():
    template = Specimen(nn.Flatten(), normalize=(0.5, 0.25), bounds=(0, 1), name="mine")
    monitor = Monitor("sensitivity", images(), specimen=template, every=1)
    model = net()
    monitor(0, model)
    result = monitor.result()
    expected = flexure.sensitivity(Specimen(model, normalize=(0.5, 0.25)), images())
    np.testing.assert_array_equal(result["R"], expected["R"])
    assert result.provenance["specimen"]["name"] == "mine"
    assert result.provenance["specimen"]["normalize"] == [[0.5], [0.25]]


class Breaks(nn.Module):
    """Fails at the second forward pass that is no training step."""

    def __init__(self):
        super().__init__()
        self.net, self.broken = net(), False

    def forward(self, x):
        if self.broken and not self.training:
            raise ValueError("a cable is loose")
        return self.net(x)


def test_a_measurement_that_fails_is_a_status_and_the_training_goes_on(tmp_path):
    model, monitor = Breaks(), Monitor("sensitivity", images(), every=2, out=tmp_path)

    def watch(step, model):
        model.broken = step == 4
        monitor(step, model)

    plain_loop(model, watch)
    found = monitor.result()
    output = found.to_frame().query("layer == 'output'")
    assert list(output["step"]) == [0, 2, 4, 6]
    states = list(output["status"])
    assert states[0] == states[1] == states[3] == "measured"
    assert states[2].startswith("SpecimenError: Breaks: the forward pass failed") and "a cable is loose" in states[2]
    assert "1 of 4 measurements failed (at step 4)." in found.notes
    assert np.isnan(output["R"].iloc[2]) and output["n"].iloc[2] == 0


def test_a_failed_measurement_is_tried_again_when_the_training_goes_on(tmp_path):
    model = Breaks()
    model.broken = True
    model.eval()
    Monitor("sensitivity", images(), out=tmp_path)(0, model)
    model.broken = False
    Monitor("sensitivity", images(), out=tmp_path)(0, model)
    assert set(gather(tmp_path, "sensitivity")["status"]) == {"measured"}


def test_a_disk_that_is_full_loses_nothing_and_stops_nothing(tmp_path, monkeypatch):
    model, monitor = net(), Monitor("sensitivity", images(), every=2, out=tmp_path)
    save, full = Result.save, [True]

    def refuse(self, folder, **options):
        if full[0]:
            raise RunError("disk full")
        return save(self, folder, **options)

    monkeypatch.setattr(Result, "save", refuse)
    plain_loop(model, monitor)
    found = monitor.result()
    assert list(found.to_frame()["step"].unique()) == [0, 2, 4, 6]
    assert found.notes[-1] == f"4 measurements could not be written to {tmp_path} and exist only here."
    full[0] = False
    monitor.on_end(model, History())
    assert not any("could not be written" in note for note in monitor.result().notes)
    assert list(gather(tmp_path, "sensitivity").to_frame()["step"].unique()) == [0, 2, 4, 6]


def test_sample_images_are_not_kept_at_every_step(tmp_path):
    monitor = Monitor("sensitivity", images(), out=tmp_path)
    monitor(0, net())
    assert not monitor.result().arrays
    assert [path.suffix for path in (tmp_path / "monitors" / "sensitivity").iterdir()] == [".parquet"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sensitivty",), "no probe 'sensitivty'. Did you mean 'sensitivity'"),
        (("sensitivity", {"options": {"drws": 2}}), "monitor of sensitivity: no option 'drws'. Did you mean 'draws'"),
        (
            ("sensitivity", {"options": {"seed": 2}}),
            r"seed is the same for all probes; give it as Monitor\(…, seed=…\)",
        ),
        (("sensitivity", {"options": {"draws": 0}}), "draws must be a whole number of at least 1; got 0"),
        (("sensitivity", {"every": "often"}), "every: expected a number of steps"),
    ],
)
def test_mistakes_are_found_before_the_training(arguments, words):
    probe, *rest = arguments
    with pytest.raises(ArgumentError, match=words):
        Monitor(probe, images(), **(rest[0] if rest else {}))


def test_epochs_have_to_be_told_by_a_loop_that_is_measured_by_them():
    monitor = Monitor("sensitivity", images(), every="2 epochs")
    monitor(0, net())
    with pytest.raises(ArgumentError, match=r"call monitor\(step, model, epoch=…\) at the end of each"):
        monitor(3, net())
    monitor(3, net(), epoch=1)
    monitor(6, net(), epoch=2)
    assert list(monitor.result().to_frame()["step"].unique()) == [0, 6]


def test_a_probe_of_weights_alone_needs_no_images(tmp_path):
    monitor, model = Monitor("filters", every=2, out=tmp_path, options={"initialized": 0}), net()
    plain_loop(model, monitor)
    assert steps_of(monitor.result()) == [0, 2, 4, 6] == steps_of(gather(tmp_path, "filters"))
    last = monitor.result().to_frame().query("step == 6")
    assert last["pooling_index"].tolist() == list(flexure.filters(model, initialized=0)["pooling_index"])
    with pytest.raises(ArgumentError, match=r"monitor of sensitivity: it looks at images; .* alone: filters"):
        Monitor("sensitivity")


def test_nothing_measured_is_said_in_words(tmp_path):
    with pytest.raises(RunError, match="monitor of sensitivity: nothing was measured yet"):
        Monitor("sensitivity", images()).result()
    with pytest.raises(RunError, match=r"holds no measurement. Is it the folder that Monitor\(out=…\) was given"):
        gather(tmp_path, "sensitivity")
    with pytest.raises(ArgumentError, match="no probe 'sens'"):
        gather(tmp_path, "sens")
