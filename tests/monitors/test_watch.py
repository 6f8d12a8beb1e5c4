"""A schedule that names no moment of a training is told of, before where that can be known, and with the result."""

import re

import pytest
from monitors.nets import images, net

from flexure import Monitor
from flexure.monitors import Filters
from flexure.training import fit


def steps_of(result):
    return list(result.to_frame()["step"].unique())


def test_a_schedule_that_never_comes_is_told_before_the_training_and_after():
    monitor = Monitor("sensitivity", images(), every="5 epochs")
    words = "every='5 epochs' names no moment of a training of 3 epochs; only its start and its end will be measured"
    with pytest.warns(UserWarning, match=f"monitor of sensitivity: {words}"):
        fit(net(), images(), epochs=3, lr=0.1, batch_size=4, callbacks=[monitor])
    assert steps_of(monitor.result()) == [0, 9]
    assert monitor.result().notes[-1].startswith("every='5 epochs' has named none of the 9 steps so far: the start")


def test_a_schedule_that_never_comes_in_somebodys_own_loop_is_told_with_the_result():
    monitor = Monitor("sensitivity", images(), every=[50, 60])
    monitor(0, net())
    assert not any("every=" in note for note in monitor.result().notes)  # it may still come
    monitor(49, net())
    assert monitor.result().notes[-1].startswith("every=[50, 60] has named none of the 49 steps so far")
    monitor(50, net())
    assert not any("every=" in note for note in monitor.result().notes)


def test_a_moment_that_came_before_the_training_was_resumed_counts(tmp_path):
    for steps in (range(5), range(5, 7)):
        monitor = Monitor("sensitivity", images(), every=3, out=tmp_path)
        for step in steps:
            monitor(step, net())
    assert steps_of(monitor.result()) == [0, 3, 6]
    assert not any("every=" in note for note in monitor.result().notes)


@pytest.mark.parametrize(
    ("every", "steps", "epochs", "words"),
    [
        (50, 40, 4, "every=50 names no moment of a training of 40 steps and 4 epochs"),
        ("5 epochs", None, 1, "every='5 epochs' names no moment of a training of 1 epoch;"),
        ([60, 70, 80, 90, 100, 110], 40, None, r"every=\[60, 70, 80, 90, 100, …\] names no moment of .* 40 steps;"),
        (50, None, 4, ""),
        ("5 epochs", 40, None, ""),
        ("log", 1, 1, ""),
    ],
)
def test_what_can_be_known_of_a_schedule_is_foretold(every, steps, epochs, words):
    told = Filters(every=every).foretell(steps=steps, epochs=epochs)
    assert bool(told) == bool(words) and re.search(words, told)
