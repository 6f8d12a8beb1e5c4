"""When to measure, in numbers and in words."""

import numpy as np
import pytest

from flexure.errors import ArgumentError
from flexure.monitors import moments


def steps_of(every) -> list[int]:
    return [step for step in range(1, 13) if moments(every).at_step(step)]


def epochs_of(every) -> list[int]:
    return [epoch for epoch in range(1, 7) if moments(every).at_epoch(epoch)]


@pytest.mark.parametrize(
    ("every", "steps"),
    [
        (5, [5, 10]),
        (np.int64(6), [6, 12]),
        ("4 steps", [4, 8, 12]),
        ("step", list(range(1, 13))),
        ("log", [1, 2, 4, 8]),
        ([3, 7, 3], [3, 7]),
        ({0, 2}, [2]),
        (range(10, 13), [10, 11, 12]),
        (np.array([1, 5]), [1, 5]),
    ],
)
def test_steps(every, steps):
    assert steps_of(every) == steps and epochs_of(every) == [] and not moments(every).in_epochs


@pytest.mark.parametrize(
    ("every", "epochs"), [("epoch", [1, 2, 3, 4, 5, 6]), ("2 epochs", [2, 4, 6]), ("every 3 epochs", [3, 6])]
)
def test_epochs(every, epochs):
    assert epochs_of(every) == epochs and steps_of(every) == [] and moments(every).in_epochs


@pytest.mark.parametrize("every", [0, -3, True, 2.5, "", "often", "0 epochs", "0 steps", [], [1.5], [-1], ["a"], None])
def test_what_names_no_moment_is_refused(every):
    with pytest.raises(ArgumentError, match="every: expected a number of steps of at least 1, 'epoch'"):
        moments(every)
