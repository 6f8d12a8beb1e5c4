"""Intervals and memberships: every end by hand, the affine identity, what uniform layers give, and points."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from reference.fuzziness import interval_of
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.formulas.fuzziness import DeLucaTermini
from flexure.formulas.memberships import (
    INTERVALS,
    Ends,
    Fixed,
    Init,
    InitMinmax,
    Minmax,
    Quantile,
    Reference,
    Trajectory,
    as_interval,
    center_distance,
    membership,
)

WEIGHT = torch.randn(6, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def ends_of(choice, weight=WEIGHT, **reference):
    return as_interval(choice).ends(weight, Reference(**reference))


@pytest.mark.parametrize("kind", ["minmax", "symmetric", "abs", "quantile"])
@pytest.mark.parametrize(("scope", "axes"), [("layer", 0), ("filter", 1), ("kernel", 2)])
def test_ends_are_those_of_all_that_share_an_interval(kind, scope, axes):
    found = ends_of({kind: {"scope": scope}})
    assert found.low.shape == found.high.shape == WEIGHT.shape[:axes] + (1,) * (4 - axes)
    low, high = found.low.expand_as(WEIGHT), found.high.expand_as(WEIGHT)
    for place in np.ndindex(*WEIGHT.shape[:axes]):
        expected = interval_of(WEIGHT[place].flatten().tolist(), kind)
        assert torch.allclose(low[place], torch.tensor(expected[0], dtype=torch.float64), rtol=1e-14)
        assert torch.allclose(high[place], torch.tensor(expected[1], dtype=torch.float64), rtol=1e-14)


def test_ends_that_do_not_move_are_told_or_known_beforehand():
    assert (Fixed(r=0.25).ends(WEIGHT).low.item(), Fixed(r=0.25).ends(WEIGHT).high.item()) == (-0.25, 0.25)
    found = ends_of("init", fan_in=25)
    assert (found.low.item(), found.high.item()) == (-0.2, 0.2)
    before = WEIGHT.flip(0) / 3
    found = ends_of({"init_minmax": {"scope": "filter"}}, initial=before)
    assert torch.equal(found.high.flatten(), before.amax((1, 2, 3)))
    found = ends_of("trajectory", lowest=WEIGHT - 1, highest=WEIGHT + 3)
    torch.testing.assert_close(membership(WEIGHT, found), torch.full_like(WEIGHT, 0.25))
    assert [name for name in INTERVALS if as_interval(name).moves] == ["minmax", "symmetric", "quantile", "abs"]


def test_a_quantile_of_0_is_minmax():
    quantile, minmax = Quantile(q=0).ends(WEIGHT), Minmax().ends(WEIGHT)
    assert torch.equal(quantile.low, minmax.low) and torch.equal(quantile.high, minmax.high)
    one = Quantile(scope="kernel").ends(WEIGHT[..., :1, :1])
    assert not one.is_wide.any()


def test_memberships_run_from_0_to_1_and_distances_from_0_at_the_center():
    ends = Ends(torch.tensor(-0.2), torch.tensor(0.6))
    weight = torch.tensor([-0.2, 0.0, 0.2, 0.6, 1.0, -0.4])
    torch.testing.assert_close(membership(weight, ends), torch.tensor([0, 0.25, 0.5, 1, 1, 0]))
    free = membership(weight, ends, clip=False)
    torch.testing.assert_close(free, torch.tensor([0, 0.25, 0.5, 1, 1.5, -0.25]))
    torch.testing.assert_close(center_distance(free), torch.tensor([1, 0.5, 0, 1, 2, 1.5]))
    magnitudes = membership(torch.tensor([-0.3, 0.6]), Ends(torch.tensor(0.0), torch.tensor(0.6), of_magnitude=True))
    torch.testing.assert_close(magnitudes, torch.tensor([0.5, 1]))


def test_a_convolution_is_affine_in_the_one_with_memberships_for_a_kernel():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 2, 9, 9), torch.randn(4, 2, 5, 5)
    ends = Minmax(scope="filter").ends(weight)
    a, width = ends.low.flatten()[:, None, None], (ends.high - ends.low).flatten()[:, None, None]
    expected = a * F.conv2d(x, torch.ones(1, 2, 5, 5)) + width * F.conv2d(x, membership(weight, ends))
    torch.testing.assert_close(F.conv2d(x, weight), expected, rtol=0, atol=1e-4)
    x, weight = x.double(), weight.double()
    ends = Init().ends(weight, Reference(fan_in=50))  # weights beyond it: not clipped
    expected = ends.low * F.conv2d(x, torch.ones(4, 2, 5, 5).double())
    expected += (ends.high - ends.low) * F.conv2d(x, membership(weight, ends, clip=False))
    torch.testing.assert_close(F.conv2d(x, weight), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["init", "init_minmax", "minmax", "abs", "symmetric"])
@pytest.mark.parametrize("layer", [nn.Conv2d(3, 64, 5), nn.Linear(80, 90), nn.ConvTranspose2d(40, 16, 3)])
def test_a_layer_at_its_default_initialization_has_uniform_memberships(kind, layer):
    torch.manual_seed(0)
    layer.reset_parameters()
    weight = layer.weight.detach().double()
    fan_in = weight[0].numel()
    mu = membership(weight, ends_of(kind, weight, fan_in=fan_in, initial=weight))
    n, ends = weight.numel(), 2 / weight.numel() if kind != "init" else 0.0
    terms = DeLucaTermini().terms(mu)
    assert abs(terms.mean() - 0.5 / math.log(2)) <= 4 * terms.std() / n**0.5 + ends
    assert abs(center_distance(mu).mean() - 0.5) <= 4 * (1 / 12 / n) ** 0.5 + ends


def test_a_point_is_no_interval_its_memberships_are_nan_and_gradients_pass_by():
    weight = torch.tensor([[[0.3, 0.3]], [[0.1, -0.5]]], requires_grad=True)
    ends = Minmax(scope="kernel").ends(weight)
    assert ends.is_wide.flatten().tolist() == [False, True]
    mu = membership(weight, ends)
    assert mu.isnan().flatten().tolist() == [True, True, False, False]
    kept = Trajectory().ends(weight, Reference(lowest=weight.detach() - 1, highest=weight.detach() + 1))
    assert kept.is_wide.all()
    lowest = weight.detach() - torch.tensor([[[0.0, 1]], [[1, 1]]])
    ends = Trajectory().ends(weight, Reference(lowest=lowest, highest=weight.detach() + lowest.ne(weight).float()))
    mu = membership(weight, ends)
    (slope,) = torch.autograd.grad(mu[~mu.isnan()].square().sum(), weight)
    assert slope.flatten().tolist() == [0, 0.5, 0.5, 0.5]


def test_ends_have_no_gradient():
    weight = WEIGHT.clone().requires_grad_()
    for kind in ("minmax", "symmetric", "quantile", "abs"):
        ends = ends_of(kind, weight)
        assert not ends.low.requires_grad and not ends.high.requires_grad
    mu = membership(weight, ends_of("minmax", weight), clip=False)
    (slope,) = torch.autograd.grad(mu.sum(), weight)
    torch.testing.assert_close(slope, torch.full_like(slope, 1 / (WEIGHT.max() - WEIGHT.min()).item()))


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (Init(), "not drawn by PyTorch's default initializer, .* 'init_minmax'"),
        (InitMinmax(), "this interval needs the weights before training: give them as before="),
        (Trajectory(), r"this interval needs the course of each weight: ask a monitor"),
    ],
)
def test_an_interval_says_what_it_needs(interval, words):
    with pytest.raises(SpecimenError, match=words):
        interval.ends(WEIGHT)


def test_initial_weights_of_another_shape_are_refused():
    with pytest.raises(SpecimenError, match=r"its weight has shape \(6, 4, 3, 3\) and had \(6, 4, 5, 5\) before"):
        ends_of("init_minmax", initial=torch.zeros(6, 4, 5, 5))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("min_max", "no interval 'min_max'. Did you mean 'minmax'"),
        ({"minmax": {"scope": "filters"}}, "Minmax: no scope 'filters'. Did you mean 'filter'"),
        ({"init": {"scope": "filter"}}, "interval init: no option 'scope'. It has none"),
        ({"fixed": {"r": 0}}, "Fixed: r must be above 0 and finite; got 0"),
        ({"quantile": {"q": 0.5}}, r"Quantile: q must be at least 0 and below 0\.5; got 0\.5"),
    ],
    ids=str,
)
def test_a_wrong_interval_is_named(choice, words):
    with pytest.raises(ArgumentError, match=words):
        as_interval(choice)


def test_an_interval_is_printed_with_its_options_and_has_a_scope():
    choices = ["fixed", "init", {"quantile": {"q": 0.1, "scope": "filter"}}, "abs", "trajectory"]
    assert [(str(i), i.scope) for i in map(as_interval, choices)] == [
        ("fixed(r=1)", "given"),
        ("init", "layer"),
        ("quantile(q=0.1)", "filter"),
        ("abs", "layer"),
        ("trajectory", "weight"),
    ]
