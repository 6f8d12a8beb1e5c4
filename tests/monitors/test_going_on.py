"""Monitors in a folder that holds measurements: none is made twice, none is lost, none of another training counts."""

import copy
import subprocess
import sys

import pandas as pd
import pytest
from monitors.nets import images, net, numbers, plain_loop, steps_of

from flexure import Monitor
from flexure.errors import RunError
from flexure.monitors import gather
from flexure.training import SavedState, fit


def counted(monkeypatch):
    """Counts measurements."""
    count = []
    original = Monitor._measured
    monkeypatch.setattr(Monitor, "_measured", lambda self, *a: count.append(a[0]) or original(self, *a))
    return count


def test_a_training_made_again_measures_nothing_twice(tmp_path, monkeypatch):
    for _ in range(2):
        plain_loop(net(), Monitor("sensitivity", images(), every=2, out=tmp_path))
        count = counted(monkeypatch)
    assert count == []


def test_another_training_is_refused_in_a_folder_that_has_one(tmp_path):
    plain_loop(net(), Monitor("sensitivity", images(), every=2, out=tmp_path))
    words = r"holds measurements of another training, at steps 0, 2, 4, 6: none at step 0 .* Choose another folder"
    with pytest.raises(RunError, match=words):
        plain_loop(net(seed=2), Monitor("sensitivity", images(), every=2, out=tmp_path))
    late = Monitor("sensitivity", images(), every=3, out=tmp_path)
    late(1, net(seed=2))  # a loop that does not tell step 0
    with pytest.raises(RunError, match="none at step 3 with the weights that this training has there"):
        late(3, net(seed=2))
    assert steps_of(gather(tmp_path, "sensitivity")) == [0, 2, 4, 6]


def test_another_training_from_the_same_weights_takes_the_place_of_the_one_before(tmp_path):
    fit(net(), images(), epochs=4, lr=0.1, callbacks=[Monitor("sensitivity", images(), every=1, out=tmp_path)])
    monitor = Monitor("sensitivity", images(), every=2, out=tmp_path)
    fit(net(), images(), epochs=2, lr=0.5, callbacks=[monitor])
    whole = Monitor("sensitivity", images(), every=2)
    fit(net(), images(), epochs=2, lr=0.5, callbacks=[whole])
    pd.testing.assert_frame_equal(numbers(monitor.result()), numbers(whole.result()))
    with pytest.raises(
        RunError, match=r"holds steps of 2 trainings \(0, 2; 1, 3, 4\). Remove the files of all but one"
    ):
        gather(tmp_path, "sensitivity")


def test_a_monitor_is_for_one_training():
    monitor = Monitor("sensitivity", images(), every=1)
    plain_loop(net(), monitor, steps=3)
    with pytest.raises(RunError, match=r"monitor of sensitivity: has measurements .* Make a Monitor for each"):
        plain_loop(net(seed=2), monitor, steps=3)
    monitor = Monitor("sensitivity", images(), every=1)
    plain_loop(net(), monitor, steps=3)
    plain_loop(net(), monitor, steps=2)
    assert steps_of(monitor.result()) == [0, 1, 2]


@pytest.mark.parametrize("stop", [4, 5])
def test_a_training_that_is_resumed_continues_its_series(tmp_path, stop, monkeypatch):
    def train(out, saved):
        monitor = Monitor("sensitivity", images(), every=2, out=out)
        fit(net(), images(), epochs=3, lr=0.1, batch_size=4, callbacks=[monitor], saved=saved)
        return monitor

    def stopped(step, total):
        if step == stop:
            raise RuntimeError("power cut")

    saved = SavedState(tmp_path / "state", pause=0.0)
    first = Monitor("sensitivity", images(), every=2, out=tmp_path / "one")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(net(), images(), epochs=3, lr=0.1, batch_size=4, callbacks=[first], saved=saved, progress=stopped)
    count = counted(monkeypatch)
    resumed = train(tmp_path / "one", saved)
    assert count == [6, 8, 9]
    pd.testing.assert_frame_equal(numbers(gather(tmp_path / "one", "sensitivity")), numbers(resumed.result()))
    whole = train(None, None)
    pd.testing.assert_frame_equal(numbers(resumed.result()), numbers(whole.result()))


def test_a_training_is_not_resumed_in_the_folder_of_another(tmp_path):
    plain_loop(net(), Monitor("sensitivity", images(), every=2, out=tmp_path))
    with pytest.raises(RunError, match="measurements of another training"):
        Monitor("sensitivity", images(), every=2, out=tmp_path).on_resume(net(seed=2), 3, 4)


def test_somebodys_own_training_that_goes_on_continues_its_series(tmp_path):
    told = []
    plain_loop(net(), lambda step, model: told.append((step, copy.deepcopy(model))))
    first = Monitor("sensitivity", images(), every=2, out=tmp_path)
    for step, model in told[:4]:
        first(step, model)
    second = Monitor("sensitivity", images(), every=2, out=tmp_path)
    for step, model in told[4:]:
        second(step, model)
    assert steps_of(second.result()) == steps_of(gather(tmp_path, "sensitivity")) == [0, 2, 4, 6]


KILLED = """
import os, signal, sys
from monitors.nets import images, net, plain_loop
from flexure import Monitor
monitor = Monitor("sensitivity", images(), every=1, out=sys.argv[1])
def watch(step, model):
    monitor(step, model)
    if step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
plain_loop(net(), watch)
"""


def test_a_training_that_is_killed_keeps_what_it_measured_and_goes_on_from_there(tmp_path, monkeypatch, request):
    tests = str(request.config.rootpath / "tests")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env={"PYTHONPATH": tests, "OMP_NUM_THREADS": "1"}
    )
    assert ended.returncode == -9
    assert list(gather(tmp_path, "sensitivity").to_frame()["step"].unique()) == [0, 1, 2, 3]
    count, whole = counted(monkeypatch), Monitor("sensitivity", images(), every=1)
    monitor = Monitor("sensitivity", images(), every=1, out=tmp_path)
    plain_loop(net(), monitor)
    assert count == [4, 5, 6]
    plain_loop(net(), whole)
    pd.testing.assert_frame_equal(numbers(monitor.result()), numbers(whole.result()))


def test_going_on_with_our_own_loop_goes_on_with_the_steps(tmp_path):
    monitor, model = Monitor("sensitivity", images(), every=2, out=tmp_path), net()
    monitor.on_resume(model, 3, 4)
    monitor.on_step_end(5, model)
    monitor.on_step_end(6, model)
    assert list(monitor.result().to_frame()["step"].unique()) == [4, 6]


def test_a_folder_with_other_settings_is_refused_before_the_training(tmp_path):
    Monitor("sensitivity", images(), out=tmp_path)(0, net())
    Monitor("sensitivity", images(), out=tmp_path, every=10, batch_size=8)
    with pytest.raises(
        RunError, match=r"holds measurements with other settings \(options: {} there, {'draws': 2} asked"
    ):
        Monitor("sensitivity", images(), out=tmp_path, options={"draws": 2})
    with pytest.raises(RunError, match=r"holds measurements with other settings \(data: "):
        Monitor("sensitivity", images(seed=1), out=tmp_path)
