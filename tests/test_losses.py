"""Losses and penalties: the formulas, by hand."""

import math

import pytest
import torch
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses import CrossEntropy, FilterPenalty, Hinge, answers


def test_cross_entropy_is_the_surprise_at_the_right_class():
    outputs = torch.tensor([[0.0, math.log(3)], [2.0, 2.0]])
    found = CrossEntropy()(outputs, torch.tensor([1, 0]))
    torch.testing.assert_close(found, torch.tensor([-math.log(0.75), math.log(2)]))


def test_hinge_counts_what_is_missing_to_a_margin_of_one():
    outputs, y = torch.tensor([[0.4], [0.4], [-3.0], [1.5]]), torch.tensor([1, 0, 0, 1])
    torch.testing.assert_close(Hinge()(outputs, y), torch.tensor([0.6, 1.4, 0.0, 0.0]))
    torch.testing.assert_close(Hinge(alpha=0.1)(outputs, y), torch.tensor([6.0, 14.0, 0.0, 0.0]))


def test_answers_are_the_largest_output_or_the_sign_of_a_single_one():
    assert answers(torch.tensor([[1.0, 2.0], [3.0, 2.0]])).tolist() == [1, 0]
    assert answers(torch.tensor([[-0.1], [0.1], [0.0]])).tolist() == [0, 1, 0]


@pytest.mark.parametrize("power", [1, 2, 3])
def test_the_penalty_on_filters_is_the_sum_of_the_papers(power):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 5, (1, 2), bias=True), nn.ReLU(), nn.Conv2d(5, 5, (1, 2)), nn.Linear(3, 3))
    expected = sum((net[i].weight.abs() ** power).sum() / 5 ** (power / 2) for i in (0, 2)) * 0.3 / 2
    torch.testing.assert_close(FilterPenalty(strength=0.3, power=power)(net), expected)


def test_what_does_not_fit_is_refused_in_words():
    one, two = torch.zeros(3, 1), torch.zeros(3, 2)
    y = torch.tensor([0, 1, 1])
    with pytest.raises(SpecimenError, match="cross-entropy needs an output per class, the network has one"):
        CrossEntropy()(one, y)
    with pytest.raises(SpecimenError, match="the hinge loss needs one output, the network has 2: num_classes=1"):
        Hinge()(two, y)
    with pytest.raises(SpecimenError, match="Linear: a penalty on filters, but it has no convolution"):
        FilterPenalty()(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="alpha must be > 0; got 0"):
        Hinge(alpha=0)
    with pytest.raises(ArgumentError, match=r"power at least 1; got 0\.01, 0\.5"):
        FilterPenalty(power=0.5)
