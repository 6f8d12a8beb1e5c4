"""Costs of mistakes: the expected cost of an answer, by hand."""

import math

import pytest
import torch

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses import CostSensitive, CrossEntropy, as_loss


def test_equal_outputs_cost_what_the_closed_form_says():
    outputs, y = torch.zeros(3, 5, dtype=torch.float64), torch.tensor([2, 0, 4])
    found = CostSensitive(protected=2, cost=10, strength=0.5)(outputs, y)
    expected = [math.log(5) + 0.5 * 10 * 4 / 5] + [math.log(5) + 0.5 * (5 - 2 + 10) / 5] * 2
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_it_is_the_cross_entropy_and_the_mean_cost_over_the_softmax_answer_by_answer():
    outputs = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y, loss = torch.tensor([0, 1, 2, 3, 1, 1]), CostSensitive(protected=1, cost=7.0, strength=0.3)
    p = outputs.softmax(1)
    for i, right in enumerate(y.tolist()):
        cost = sum(p[i, j].item() * (0 if j == right else 7 if 1 in (j, right) else 1) for j in range(4))
        plain = CrossEntropy()(outputs[i : i + 1], y[i : i + 1]).item()
        assert loss(outputs, y)[i].item() == pytest.approx(plain + 0.3 * cost, rel=1e-12)
    assert torch.equal(CostSensitive(strength=0)(outputs, y), CrossEntropy()(outputs, y))


def test_a_table_of_costs_has_a_row_for_each_answer_and_a_column_for_each_right_class():
    loss = as_loss({"cost_sensitive": {"costs": [[0, 2], [5, 0]], "strength": 1}})
    outputs = torch.tensor([[0.0, math.log(3)]], dtype=torch.float64)
    assert loss(outputs, torch.tensor([0])).item() == pytest.approx(math.log(4) + 0.75 * 5)
    assert loss(outputs, torch.tensor([1])).item() == pytest.approx(-math.log(0.75) + 0.25 * 2)


def test_the_slope_is_that_of_finite_differences():
    outputs = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(lambda f: CostSensitive(protected=3)(f, y), outputs)


def test_what_does_not_fit_is_refused_in_words():
    outputs, y = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(SpecimenError, match="class 3 is to be protected, but the network has 3 outputs: 0 to 2"):
        CostSensitive(protected=3)(outputs, y)
    with pytest.raises(SpecimenError, match="the costs are for 2 classes, the network has 3 outputs"):
        CostSensitive(costs=[[0, 1], [1, 0]])(outputs, y)
    with pytest.raises(SpecimenError, match="needs an output per class, the network has one"):
        CostSensitive()(torch.zeros(2, 1), y)
    with pytest.raises(ArgumentError, match="must be at least 0; got 0, -1, 1"):
        CostSensitive(cost=-1)
    with pytest.raises(ArgumentError, match="a square table of numbers that are at least 0"):
        CostSensitive(costs=[[0, 1]])
