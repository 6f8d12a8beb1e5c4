"""A training in a folder: what lies there, what is measured, and that it can be gone on with at every point."""

import errno
import os
import signal

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import flexure
from flexure.bench import weights_hash
from flexure.errors import ArgumentError, RunError, SpecimenError
from flexure.models import load_weights, resolve
from flexure.monitors import gather
from flexure.results import read
from flexure.runs import train as train_module
from flexure.runs.examine import IncompleteRunError
from flexure.runs.learned import NOT_TESTED
from flexure.runs.train import as_measured, train, train_spec
from flexure.runs.training_spec import TrainingSpec
from flexure.training import Callback, EarlyStop

QUICK = {
    "net": "small_cnn", "data": "digits", "limit": 60, "test_limit": 40, "epochs": 2, "batch_size": 20,
    "measure_limit": 20, "threads": 1, "device": "cpu",
}  # fmt: skip
FILES = {"spec.yaml", "env.json", "initial.safetensors", "last.safetensors", "best.safetensors", "training.parquet"}


def spec(**fields) -> TrainingSpec:
    return TrainingSpec.of({**QUICK, **fields})


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, step, model):
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    said = []
    run = train_spec(spec(), out=folder, say=said.append)
    return run, said


def test_the_folder_holds_the_weights_the_history_and_what_was_measured(done):
    run, _ = done
    there = {path.name for path in run.folder.iterdir()}
    assert there > FILES
    assert not (run.folder / ".partial").exists()
    assert {"training", "sensitivity"} <= set(run.results)
    assert list(read(run.folder).results) == list(run.results)
    assert TrainingSpec.read(run.folder / "spec.yaml").net == "small_cnn"
    assert run.environment["finished"] >= run.environment["started"]


def test_the_network_and_the_images_that_were_measured_are_read_again(done):
    run, _ = done
    network, images = as_measured(read(run.folder))
    assert weights_hash(network.model) == run["training"].provenance["weights"]["last"]
    assert len(images) == 20
    again = flexure.accuracy(network, images)
    assert again["error"][0] == run["accuracy"]["error"][0]
    with pytest.raises(ArgumentError, match="no training in a folder"):
        as_measured(flexure.examine(network, images, probes=["accuracy"]))


def test_images_that_were_trained_on_can_be_measured_those_of_a_group_under_their_own_classes(tmp_path):
    fields = {"net": "fnn", "width": 0.001, "data": "digits:groups=3+9/5+8", "loss": "squared", "num_classes": 1}
    asked = spec(**fields, lr=0.01, measure_on="train", measure_label=1, probes={"elasticity": {}}, twin="linear")
    run = train_spec(asked, out=tmp_path / "r")
    found = run["elasticity"]
    assert found["kernel"].shape == (20, 20) and set(found["labels"].tolist()) == {5, 8}
    network, images = as_measured(run)
    assert images.indices.tolist() == found["index"].tolist() and network.name == "fnn, linear"
    again = flexure.elasticity(network, images)
    assert (again["kernel"] == found["kernel"]).all()


def test_the_table_has_a_row_per_epoch_with_an_error_beside_every_estimate(done):
    table = done[0]["training"].to_frame()
    assert table["epoch"].tolist() == [1, 2]
    assert table["n"].tolist() == [60, 60]
    assert table["test_n"].tolist() == [40, 40]
    assert set(table["status"]) == {"measured"}
    for name in ("loss", "accuracy", "test_loss", "test_accuracy"):
        assert (table[f"{name}_se"] > 0).all()


def test_the_network_measured_is_the_one_after_training_beside_the_one_before(done):
    run, _ = done
    assert load_file(run.folder / "initial.safetensors")["conv1.weight"].equal(resolve("small_cnn").model.conv1.weight)
    last = resolve("small_cnn")
    load_weights(last.model, run.folder / "last.safetensors")
    found = run["sensitivity"].provenance["specimen"]["weights_hash"]
    assert found == weights_hash(last.model) == run["training"].provenance["weights"]["last"]
    table = run["sensitivity"].to_frame()
    assert table["n"].max() == 20
    assert table["R_init"].notna().any()


def test_it_says_what_it_does(done):
    said = "\n".join(done[1])
    assert "training on 60 images of digits for 2 epochs, testing on 40" in said
    assert "test accuracy after 2 epochs: 0." in said
    assert "network: small_cnn, 16,794 parameters" in said
    assert "sensitivity: 6 passes over 20 images" in said


def test_one_epoch_is_one_and_nothing_better_is_told_where_nothing_is(tmp_path):
    said = []
    train_spec(spec(measure="none", epochs=1), out=tmp_path / "r", say=said.append)
    assert "training on 60 images of digits for 1 epoch, testing on 40" in said
    train_spec(spec(measure="none", epochs=2, lr=1e-12), out=tmp_path / "s", say=said.append)
    assert said[-1].startswith("test accuracy after 2 epochs: ")
    assert "best" not in said[-1]


def test_the_best_weights_may_be_measured_instead(tmp_path):
    run = train_spec(spec(measure="best", epochs=3, probes={"sensitivity": {}}), out=tmp_path / "r")
    best = resolve("small_cnn")
    load_weights(best.model, run.folder / "best.safetensors")
    assert run["sensitivity"].provenance["specimen"]["weights_hash"] == weights_hash(best.model)
    assert any("chosen by looking at the test images" in note for note in run["training"].notes)


def test_nothing_need_be_measured(tmp_path):
    run = train_spec(spec(measure="none"), out=tmp_path / "r")
    assert list(run.results) == ["training"]


@pytest.mark.parametrize("step", [2, 3, 5])
def test_a_training_that_was_stopped_goes_on_to_the_same_files(tmp_path, done, step):
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        train_spec(spec(), out=out, callbacks=[StopAt(step)])
    assert (out / ".partial" / "training.safetensors").is_file()
    run = train_spec(spec(), out=out, resume=True)
    for name in ("last", "best", "initial"):
        assert (out / f"{name}.safetensors").read_bytes() == (done[0].folder / f"{name}.safetensors").read_bytes()
    for probe in done[0].results:
        pd.testing.assert_frame_equal(run[probe].to_frame(), done[0][probe].to_frame(), check_exact=True)
    assert len(run.environment["earlier"]) == 1


def test_a_finished_training_is_not_done_again_but_may_be_asked_more(tmp_path, monkeypatch):
    out = tmp_path / "r"
    train_spec(spec(measure="none"), out=out)
    monkeypatch.setattr(train_module, "follow", None)
    run = train_spec(spec(measure="none"), out=out, resume=True)
    assert list(run.results) == ["training"]
    with pytest.raises(RunError, match="holds this very run already"):
        train_spec(spec(measure="none"), out=out)


def test_probes_that_were_not_finished_are_asked_when_it_goes_on(tmp_path, done, monkeypatch):
    out = tmp_path / "r"
    monkeypatch.setattr(train_module, "examine_into", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_spec(spec(), out=out)
    monkeypatch.undo()
    monkeypatch.setattr(train_module, "follow", None)
    run = train_spec(spec(), out=out, resume=True)
    for probe in done[0].results:
        pd.testing.assert_frame_equal(run[probe].to_frame(), done[0][probe].to_frame(), check_exact=True)


def test_another_training_in_the_folder_is_refused_before_data_are_read(done, monkeypatch):
    monkeypatch.setattr(train_module, "prepare_training", None)
    with pytest.raises(RunError, match=r"holds a run with other settings \(lr: 0.05 there, 0.1 asked for\)"):
        train_spec(spec(lr=0.1), out=done[0].folder, resume=True)


def test_a_folder_with_a_measurement_is_refused(tmp_path):
    (tmp_path / "spec.yaml").write_text("model: resnet20\ndata: digits\n")
    with pytest.raises(RunError, match=r"holds another kind of run, no training. Choose another folder"):
        train_spec(spec(), out=tmp_path, resume=True)


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch, done):
    out = tmp_path / "r"
    kept = flexure.Result.save

    def full(self, folder):
        if self.probe != "training":
            raise RunError(f"{folder}: cannot be written ({os.strerror(errno.ENOSPC)}).")
        return kept(self, folder)

    monkeypatch.setattr(flexure.Result, "save", full)
    with pytest.raises(IncompleteRunError, match="No space left") as caught:
        train_spec(spec(), out=out)
    assert set(caught.value.run.results) == {"training", "sensitivity"}
    monkeypatch.undo()
    run = train_spec(spec(), out=out, resume=True)
    pd.testing.assert_frame_equal(run["sensitivity"].to_frame(), done[0]["sensitivity"].to_frame(), check_exact=True)


def test_a_disk_that_fills_while_it_trains_keeps_the_state_before(tmp_path, monkeypatch, done):
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        train_spec(spec(), out=out, callbacks=[StopAt(4)])
    fsync = os.fsync
    left = [3]  # spec, environment, then the state

    def full(descriptor):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        train_spec(spec(), out=out, resume=True)
    monkeypatch.undo()
    train_spec(spec(), out=out, resume=True)
    assert (out / "last.safetensors").read_bytes() == (done[0].folder / "last.safetensors").read_bytes()


def test_monitors_measure_while_it_learns_and_change_nothing(tmp_path, done):
    monitors = {"sensitivity": {"every": 3, "limit": 10, "draws": 1}}
    run = train_spec(spec(monitors=monitors, measure="none"), out=tmp_path / "r")
    assert sorted(path.stem for path in (tmp_path / "r" / "monitors" / "sensitivity").iterdir())[0].endswith("0")
    assert set(run["monitor_sensitivity"]["step"]) == {0, 3, 6}
    assert (tmp_path / "r" / "last.safetensors").read_bytes() == (done[0].folder / "last.safetensors").read_bytes()


def test_the_paths_of_weights_are_followed_where_a_spec_asks_for_it(tmp_path):
    asked = spec(monitors={"trajectories": {"every": 2, "layers": ["conv1"], "sample": 3}}, measure="none")
    run = train_spec(asked, out=tmp_path / "r")
    found = run["monitor_trajectories"]
    assert found["step"].tolist() == [0, 2, 4, 6] and found["path"].shape == (3, 4)
    assert list(found["layer"]) == ["conv1"] and list(found["status"]) == ["measured"]


def test_a_monitor_whose_moments_never_come_is_told_before_the_training(tmp_path):
    said, monitors = [], {"sensitivity": {"every": 100, "limit": 10, "draws": 1}}
    run = train_spec(spec(monitors=monitors, measure="none"), out=tmp_path / "r", say=said.append)
    words = "note: monitor of sensitivity: every=100 names no moment of a training of 6 steps and 2 epochs; only its"
    assert any(text.startswith(words) for text in said)
    assert set(run["monitor_sensitivity"]["step"]) == {0, 6}
    assert run["monitor_sensitivity"].notes[-1].startswith("every=100 has named none of the 6 steps")


def test_early_stops_are_told_in_the_result(tmp_path):
    run = train_spec(spec(stop={"train_loss": 100}, epochs=9, measure="none"), out=tmp_path / "r")
    assert len(run["training"]) == 1
    assert run["training"].notes[0].startswith("Ended early: epoch 1 reached training loss")
    assert run["training"].provenance["ended"].startswith("epoch 1 reached")


def tensors(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n)
    return torch.rand(n, 1, 4, 4, generator=generator), torch.arange(n) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(), nn.Linear(8, 3))


def test_any_network_and_tensors_can_be_trained_from_python(tmp_path):
    model = net()
    result = flexure.train(
        model,
        tensors(12),
        test=tensors(6),
        epochs=3,
        lr=0.1,
        test_every=2,
        out=tmp_path / "r",
        stop=EarlyStop(train_loss=0),
    )
    assert result["status"].tolist() == [NOT_TESTED, "measured", "measured"]
    assert result.provenance["weights"]["last"] == weights_hash(model)
    assert result.units["loss"] == "nats"
    run = read(tmp_path / "r")
    assert run.spec["recipe"]["lr"] == 0.1
    pd.testing.assert_frame_equal(run["training"].to_frame(), result.to_frame())


def test_without_a_folder_nothing_is_written_and_the_result_is_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = train(net(), tensors(12), epochs=2, lr=0.1)
    assert not list(tmp_path.iterdir())
    two = train(net(), tensors(12), epochs=2, lr=0.1, out="r")
    pd.testing.assert_frame_equal(one.to_frame(), two.to_frame())


def test_callbacks_are_looked_at_before_a_folder_is_made(tmp_path):
    with pytest.raises(ArgumentError, match=r"callbacks: expected a list of callbacks; got StopAt. Give \[it\]"):
        train(net(), tensors(12), epochs=1, lr=0.1, out=tmp_path / "run", callbacks=StopAt(5))
    assert not (tmp_path / "run").exists()


def test_a_python_training_goes_on_from_its_folder(tmp_path):
    whole = net()
    expected = train(whole, tensors(12), epochs=4, lr=0.1, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        train(net(), tensors(12), epochs=4, lr=0.1, batch_size=4, out=tmp_path, callbacks=[StopAt(5)])
    model = net()
    found = train(model, tensors(12), epochs=4, lr=0.1, batch_size=4, out=tmp_path, resume=True)
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)
    assert weights_hash(model) == weights_hash(whole)
    again = net()
    train(again, tensors(12), epochs=4, lr=0.1, batch_size=4, out=tmp_path, resume=True)
    assert weights_hash(again) == weights_hash(whole)


def test_going_on_with_another_recipe_network_or_data_is_refused(tmp_path):
    train(net(), tensors(12), epochs=1, lr=0.1, out=tmp_path)
    with pytest.raises(RunError, match="recipe: "):
        train(net(), tensors(12), epochs=1, lr=0.2, out=tmp_path, resume=True)
    other = net()
    nn.init.zeros_(other[1].weight)
    with pytest.raises(RunError, match="weights_hash: "):
        train(other, tensors(12), epochs=1, lr=0.1, out=tmp_path, resume=True)
    with pytest.raises(RunError, match="data_hash: "):
        train(net(), tensors(13), epochs=1, lr=0.1, out=tmp_path, resume=True)
    with pytest.raises(ArgumentError, match="resume=True needs out="):
        train(net(), tensors(12), epochs=1, lr=0.1, resume=True)


def test_a_training_that_diverges_says_where_and_keeps_its_folder(tmp_path):
    def diverges(outputs, y):
        return outputs.sum(1) * torch.nan

    with pytest.raises(SpecimenError, match="the loss is nan at epoch 1, step 1"):
        train(net(), tensors(12), epochs=1, lr=0.1, loss=diverges, out=tmp_path)
    assert (tmp_path / "initial.safetensors").is_file()


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train_module.distributed, "world_size", lambda: 2)
    with pytest.raises(RunError, match="a training is done by one process; leave torchrun out"):
        train_spec(spec(), out=tmp_path)


def test_accuracy_is_measured_as_the_loss_means_the_output(tmp_path):
    fields = {"net": "simple_cnn", "width": 0.01, "data": "scale-detection-1d", "num_classes": 1, "lr": 1e-6}
    asked = spec(**fields, loss="squared", epochs=1, probes={"accuracy": {}}, monitors={"accuracy": {"limit": 40}})
    run = train_spec(asked, out=tmp_path / "run")
    (trained,), (row,) = (run[name].to_frame().to_dict("records") for name in ("training", "accuracy"))
    assert run["accuracy"].provenance["settings"]["loss"] == "Squared(half=False)"
    assert row["n"] == QUICK["measure_limit"]
    seen = gather(tmp_path / "run", "accuracy").to_frame()
    assert seen["loss"].iloc[-1] == pytest.approx(trained["test_loss"], rel=1e-5)
    assert seen["accuracy"].iloc[-1] == trained["test_accuracy"]


def test_an_accuracy_that_names_its_own_loss_keeps_it():
    asked = spec(loss="squared", probes={"accuracy": {"loss": "hinge"}})
    assert asked.judged(asked.probes)["accuracy"] == {"loss": "hinge"}
    assert asked.judged({"sensitivity": {}, "accuracy": {"draws": 2}})["accuracy"] == {"loss": "squared", "draws": 2}
    assert spec(loss="hinge").judged({"accuracy": {}}) == {"accuracy": {}}


def test_what_learnt_on_corrupted_images_is_judged_on_such_too(tmp_path):
    asked = spec(corruption=5.0, epochs=1, probes={"accuracy": {}}, monitors={"accuracy": {"limit": 40}})
    run = train_spec(asked, out=tmp_path / "run")
    assert run["accuracy"]["corruption"].tolist() == [0.0, 5.0]
    assert set(gather(tmp_path / "run", "accuracy")["corruption"]) == {0.0}  # as the trainings' own tests
    own = {"accuracy": {"corruption": [1.0]}}
    assert asked.asked(own) == own and spec().asked({"accuracy": {}}) == {"accuracy": {}}
