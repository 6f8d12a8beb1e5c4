"""Schedules: the papers' cosine comes back up, and each schedule is stepped as its name says."""

import math

import pytest
import torch
from training.make import images, net

from flexure.errors import ArgumentError
from flexure.training import Constant, Cosine, EpochCosine, EpochExponential, fit


def rates(schedule, epochs: int, *, lr: float, batch_size: int = 10) -> list[float]:
    return [
        record.lr
        for record in fit(net(), images(), epochs=epochs, lr=lr, batch_size=batch_size, schedule=schedule).records
    ]


def test_the_papers_cosine_is_zero_in_epoch_200_and_rises_to_0_0141_in_the_last_of_250():
    schedule = EpochCosine()
    found = [0.1 * schedule(0.0, epoch, 250) for epoch in range(250)]
    assert found[0] == 0.1
    assert found[200] == pytest.approx(0, abs=1e-15)
    assert found[249] == pytest.approx(0.0141, abs=5e-5)
    assert min(found) == found[200]


def test_the_papers_cosine_is_that_of_torch_stepped_per_epoch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], 0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates("epoch_cosine", 10, lr=0.1) == pytest.approx(expected, abs=1e-12)


def test_schedules_per_epoch_stay_put_within_one_and_those_per_step_do_not():
    per_epoch = rates(EpochExponential(0.5), 3, lr=0.4, batch_size=5)
    assert per_epoch == pytest.approx([0.4, 0.2, 0.1])
    assert rates("constant", 2, lr=0.4) == [0.4, 0.4]
    last_steps = [0.2 * (1 + math.cos(math.pi * done)) for done in (1 / 4, 3 / 4)]
    assert rates("cosine", 2, lr=0.4, batch_size=5) == pytest.approx(last_steps)


def test_a_schedule_of_ones_own_is_asked_for_every_step():
    asked = []

    def schedule(done, epoch, epochs):
        asked.append((done, epoch, epochs))
        return 1.0

    rates(schedule, 2, lr=0.1, batch_size=5)
    assert asked == [(0.0, 0, 2), (0.25, 0, 2), (0.5, 1, 2), (0.75, 1, 2)]


def test_impossible_schedules_are_refused():
    with pytest.raises(ArgumentError, match="share must be > 0; got 0"):
        EpochCosine(share=0)
    with pytest.raises(ArgumentError, match=r"gamma must lie in \(0, 1\]; got 1.5"):
        EpochExponential(gamma=1.5)
    assert (Constant()(0.9, 3, 4), Cosine()(0.0, 0, 4)) == (1, 1)
