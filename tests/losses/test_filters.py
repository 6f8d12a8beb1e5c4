"""The penalty on filters: the formula, by hand."""

import pytest
import torch
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses import FilterPenalty


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_penalty_on_filters_is_the_sum_of_the_papers(power):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 5, (1, 2), bias=True), nn.ReLU(), nn.Conv2d(5, 5, (1, 2)), nn.Linear(3, 3))
    expected = sum((net[i].weight.abs() ** power).sum() / 5 ** (power / 2) for i in (0, 2)) * 0.3 / 2
    torch.testing.assert_close(FilterPenalty(strength=0.3, power=power)(net), expected)


def test_a_network_without_filters_and_a_power_below_1_are_refused():
    with pytest.raises(SpecimenError, match="Linear: a penalty on filters, but it has no convolution"):
        FilterPenalty()(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match=r"power at least 1; got 0\.01, 0\.5"):
        FilterPenalty(power=0.5)
