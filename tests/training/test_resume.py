"""Stopped and gone on with, a training leads to the same weights as one that nobody disturbed, bit for bit."""

import errno
import json
import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training.make import dropout_net, images, weights

from flexure.errors import RunError
from flexure.training import Callback, EarlyStop, History, SavedState, fit
from flexure.training import saving as saving_module

OPTIONS = {
    "epochs": 4,
    "lr": 0.1,
    "batch_size": 3,
    "weight_decay": 1e-3,
    "augment": ("crop", "flip"),
    "corruption": 0.5,
    "seed": 5,
}


class Stop(Callback):
    """Sends a signal to this process after a step, and remembers how it was told to begin."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number, self.began = step, number, []

    def on_start(self, model, epochs):
        self.began.append("start")

    def on_resume(self, model, epochs, step):
        self.began.append(step)

    def on_step_end(self, step, model):
        if step == self.step:
            os.kill(os.getpid(), self.number)


def train(path: Path | None, *, stop_at: int = -1, **options) -> tuple[nn.Module, History, list]:
    model, stop = dropout_net(), Stop(stop_at)
    saved = None if path is None else SavedState(path)
    history = fit(model, images(), test=images(7), callbacks=[stop], saved=saved, **{**OPTIONS, **options})
    return model, history, stop.began


def same(one: History, other: History) -> bool:
    return (
        repr(one.records) == repr(other.records)
        and (one.best_epoch, one.ended) == (other.best_epoch, other.ended)
        and all(torch.equal(value, other.best[name]) for name, value in one.best.items())
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("at", [1, 3, 4, 6, 11])  # three batches of an epoch: within, at the end, just after it
def test_a_training_that_is_stopped_goes_on_to_the_same_weights(tmp_path, at, optimizer):
    whole, undisturbed, _ = train(None, optimizer=optimizer)
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(path, stop_at=at, optimizer=optimizer)
    model, history, began = train(path, optimizer=optimizer)
    assert began == [at]
    assert torch.equal(weights(model), weights(whole))
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), whole.buffers(), strict=True))
    assert same(history, undisturbed)


def test_it_may_be_stopped_again_and_again(tmp_path):
    whole, undisturbed, _ = train(None)
    path = tmp_path / "state.safetensors"
    for at in (2, 5, 6, 10):
        with pytest.raises(KeyboardInterrupt):
            train(path, stop_at=at)
    model, history, _ = train(path)
    assert torch.equal(weights(model), weights(whole))
    assert same(history, undisturbed)


def test_a_training_that_has_ended_early_does_not_go_on(tmp_path):
    path, stop = tmp_path / "state.safetensors", EarlyStop(train_loss=1e9, patience_factor=2)
    model, history, _ = train(path, stop=stop)
    again, once_more, began = train(path, stop=stop)
    assert (len(history), began) == (2, [6])
    assert torch.equal(weights(model), weights(again))
    assert same(history, once_more)


def test_the_scale_of_float16_gradients_is_kept(tmp_path):
    whole, _, _ = train(None, precision="float16")
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(path, stop_at=4, precision="float16")
    about = json.loads(metadata(path))
    assert about["facts"]["scaler"]["scale"] > 1
    model, _, _ = train(path, precision="float16")
    assert torch.equal(weights(model), weights(whole))


def metadata(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()["flexure"]


def test_a_request_to_terminate_waits_for_the_step_and_reaches_whoever_handles_it(tmp_path):
    handled = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: handled.append(number))
    try:
        model, stop = dropout_net(), Stop(4, signal.SIGTERM)
        saved = SavedState(tmp_path / "state.safetensors")
        with pytest.raises(KeyboardInterrupt):
            fit(model, images(), callbacks=[stop], saved=saved, **OPTIONS)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handled == [signal.SIGTERM]
    assert json.loads(metadata(tmp_path / "state.safetensors"))["facts"]["step"] == 4


def test_without_a_file_to_save_to_an_interrupt_comes_at_once():
    with pytest.raises(KeyboardInterrupt):
        train(None, stop_at=1)


def test_in_another_thread_nothing_is_held_back(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(tmp_path / "state.safetensors")[1]))
    thread.start()
    thread.join()
    assert len(found[0]) == 4


def test_a_state_of_another_training_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    train(path)
    with pytest.raises(RunError, match=r"the state of a training with other settings. Delete the file"):
        train(path, lr=0.2)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"state.safetensors: the state of the training cannot be read"):
        train(path)


def test_a_state_from_a_newer_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    monkeypatch.setattr(saving_module, "_FORMAT", 2)
    train(path)
    monkeypatch.undo()
    with pytest.raises(RunError, match=r"format 2, this version reads up to 1\. Update Flexure"):
        train(path)


def test_a_full_disk_stops_the_training_and_leaves_the_state_before(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(path, stop_at=4)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\)"):
        train(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    model, _, _ = train(path)
    assert torch.equal(weights(model), weights(train(None)[0]))


def test_nothing_in_the_state_can_run(tmp_path):
    path = tmp_path / "state.safetensors"
    train(path)
    assert {name.split(".")[0] for name in load_file(path)} == {"model", "optimizer", "history", "best"}


def test_states_are_saved_at_the_ends_of_epochs_and_within_long_ones(tmp_path, monkeypatch):
    saved_at = []
    monkeypatch.setattr(SavedState, "save", lambda self, settings, tensors, facts: saved_at.append(facts["step"]))
    fit(dropout_net(), images(), saved=SavedState(tmp_path / "s"), **OPTIONS)
    assert saved_at == [3, 6, 9, 12]
    saved_at.clear()
    fit(dropout_net(), images(), saved=SavedState(tmp_path / "s", pause=0), **OPTIONS)
    assert sorted(set(saved_at)) == list(range(1, 13))
