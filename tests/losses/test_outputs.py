"""Losses of outputs: the formulas, by hand."""

import math

import pytest
import torch
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Squared,
    answers,
    as_loss,
    unit_of,
)


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


def test_what_does_not_fit_is_refused_in_words():
    one, two = torch.zeros(3, 1), torch.zeros(3, 2)
    y = torch.tensor([0, 1, 1])
    with pytest.raises(SpecimenError, match="cross-entropy needs an output per class, the network has one"):
        CrossEntropy()(one, y)
    with pytest.raises(SpecimenError, match="the hinge loss needs one output, the network has 2: num_classes=1"):
        Hinge()(two, y)
    with pytest.raises(ArgumentError, match="alpha must be > 0; got 0"):
        Hinge(alpha=0)


def test_the_squared_loss_compares_one_output_with_the_label_and_several_with_one_for_the_class():
    one, y = torch.tensor([[0.25], [0.25], [3.0]]), torch.tensor([0, 1, 2])
    assert Squared()(one, y).tolist() == [0.0625, 0.5625, 1.0]
    assert Squared(half=True)(one, y).tolist() == [0.03125, 0.28125, 0.5]
    several = torch.tensor([[0.5, 0.0, 2.0]])
    assert Squared()(several, torch.tensor([1])).tolist() == [0.25 + 1.0 + 4.0]


@pytest.mark.parametrize(
    ("loss", "slope"),
    [
        (Squared(), lambda f, y: 2 * (f - y)),
        (Squared(half=True), lambda f, y: f - y),
        (BinaryCrossEntropy(), lambda f, y: torch.sigmoid(f) - y),
        (BinaryCrossEntropy(of="probabilities"), lambda p, y: (p - y) / (p * (1 - p))),
    ],
)
def test_the_slope_by_the_output_is_that_of_the_formula(loss, slope):
    f = torch.tensor([[0.2], [0.7], [0.2], [0.7]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 0, 1, 1])
    (found,) = torch.autograd.grad(loss(f, y).sum(), f)
    torch.testing.assert_close(found[:, 0], slope(f.detach()[:, 0], y))


def test_binary_cross_entropy_is_the_same_of_logits_and_of_their_probabilities():
    f, y = torch.tensor([[-3.0], [0.4], [2.0]], dtype=torch.float64), torch.tensor([0, 1, 0])
    p = torch.sigmoid(f)
    expected = torch.stack([-(1 - p[0, 0]).log(), -p[1, 0].log(), -(1 - p[2, 0]).log()])
    torch.testing.assert_close(BinaryCrossEntropy()(f, y), expected)
    torch.testing.assert_close(BinaryCrossEntropy(of="probabilities")(p, y), expected)
    certain = BinaryCrossEntropy(of="probabilities")(torch.tensor([[1.0], [0.0]]), torch.tensor([1, 1]))
    assert certain.tolist() == [0.0, math.inf]


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (None, [0, 1, 1, 1]),
        (Hinge(), [0, 1, 1, 1]),
        (nn.MSELoss(), [0, 1, 1, 1]),
        (BinaryCrossEntropy(), [0, 1, 1, 1]),
        (Squared(), [0, 0, 1, 1]),
        (BinaryCrossEntropy(of="probabilities"), [0, 0, 1, 1]),
    ],
)
def test_the_loss_says_from_where_a_single_output_means_the_second_class(loss, found):
    assert answers(torch.tensor([[-0.1], [0.4], [0.6], [1.3]]), loss).tolist() == found
    assert answers(torch.tensor([[0.9, 0.1], [0.1, 0.4]]), loss).tolist() == [0, 1]


def test_binary_cross_entropy_refuses_what_is_no_probability_and_several_outputs():
    y = torch.tensor([0, 1])
    with pytest.raises(SpecimenError, match=r"but the output is 1\.5\. End the network in a sigmoid"):
        BinaryCrossEntropy(of="probabilities")(torch.tensor([[0.5], [1.5]]), y)
    with pytest.raises(SpecimenError, match="needs one output, the network has 2: num_classes=1"):
        BinaryCrossEntropy()(torch.zeros(2, 2), y)
    with pytest.raises(ArgumentError, match=r"of no 'probability'\. Did you mean 'probabilities'"):
        BinaryCrossEntropy(of="probability")


def test_a_loss_is_its_name_its_name_with_options_or_itself():
    own = Squared(half=True)
    assert as_loss(own) is own
    assert as_loss("hinge") == Hinge()
    assert as_loss({"binary_cross_entropy": {"of": "probabilities"}}) == BinaryCrossEntropy(of="probabilities")
    assert [unit_of(as_loss(name)) for name in LOSSES] == ["nats", "hinge", "squared", "nats", "cost_sensitive"]
    assert unit_of(nn.MSELoss()) == "loss"


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("squard", "no loss 'squard'. Did you mean 'squared'"),
        ({"squared": {"hlaf": True}}, "loss squared: no option 'hlaf'. Did you mean 'half'"),
        ({"cross_entropy": {"half": True}}, "loss cross_entropy: no option 'half'. It has none"),
        ({"squared": {}, "hinge": {}}, "expected one name, with its options beneath it; got squared, hinge"),
        ({}, "expected one name, with its options beneath it; got none"),
    ],
)
def test_a_wrong_name_or_option_is_named(choice, words):
    with pytest.raises(ArgumentError, match=words):
        as_loss(choice)
