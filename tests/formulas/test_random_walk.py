"""Where random walks end in their own range: exact for one and two steps, in the limit of many, and path by path."""

import math

import numpy as np
import pytest
import torch
from reference.random_walk import brownian, end_place
from scipy.integrate import quad

from flexure import rng
from flexure.formulas.random_walk import end_places


def near(mu: torch.Tensor) -> torch.Tensor:
    return ((mu <= 0.1) | (mu >= 0.9)).double()


def agrees(values: torch.Tensor, truth: float) -> bool:
    return abs(values.mean() - truth) <= 4 * values.std() / math.sqrt(len(values))


def test_each_walk_ends_where_its_steps_lead():
    scales = torch.tensor([1.0, 0.3, 0.0, 2.0, 0.7])
    noise = rng.normal(5, seed=3, purpose="random walk", index=torch.arange(50), dtype=torch.float64)
    expected = [end_place((row * scales.double()).tolist()) for row in noise]
    np.testing.assert_allclose(end_places(scales, walks=50, seed=3), expected, atol=1e-14)


def test_after_one_step_a_walk_is_at_an_end():
    assert set(end_places(torch.tensor([0.2]), walks=100, seed=0).tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("first", "second"), [(1.0, 1.0), (1.0, 0.3)])
def test_two_steps_end_as_an_angle_says(first, second):
    """The steps' direction is uniform once they are scaled alike; the second turns back inside where it is smaller."""
    mu, ratio = end_places(torch.tensor([first, second]), walks=40_000, seed=1), second / first
    inside = math.atan(1 / ratio) / math.pi  # of the other sign, and smaller
    assert agrees(((mu > 0) & (mu < 1)).double(), inside)
    back = lambda share: math.atan(share / ratio) / math.pi  # noqa: E731
    assert agrees(near(mu), 1 - inside + back(0.1) + back(1.0) - back(0.9))


def test_many_steps_end_as_brownian_motion_does_whatever_their_sizes():
    steps = torch.linspace(0, 1, 4000)
    for scales in (torch.ones(4000), 1 + 0.5 * (8 * steps).sin()):
        mu = end_places(scales, walks=3000, seed=2)
        d = (2 * mu - 1).abs()
        # steps are finite: the range of a walk is short by about 0.58 of a step at either end, some 1 % here
        assert abs(d.mean() - brownian(lambda d: d)) <= 4 * d.std() / math.sqrt(3000) + 0.01
        assert abs(near(mu).mean() - brownian(lambda d: float(d >= 0.8))) <= 4 * math.sqrt(0.25 * 0.75 / 3000) + 0.015
    assert brownian(lambda d: 1.0) == pytest.approx(1)
    assert (round(brownian(lambda d: d), 3), round(brownian(lambda d: float(d >= 0.8)), 3)) == (0.544, 0.253)


def test_the_law_of_brownian_motion_is_that_of_its_extremes():
    """The chance to be still between -y and x after an exponential time, differentiated twice, along rays."""

    def still(x, y):
        return 1 - math.cosh((x - y) / 2) / math.cosh((x + y) / 2)

    def both(x, y, h=1e-3):
        return (still(x + h, y + h) - still(x + h, y - h) - still(x - h, y + h) + still(x - h, y - h)) / (4 * h * h)

    for d in (0.1, 0.5, 0.9):
        by_extremes = quad(lambda r, d=d: r * both(r * (1 + d) / 2, r * (1 - d) / 2), 0.01, 30)[0]
        density = quad(lambda t, d=d: 2 * t * np.cosh(t * d) / np.cosh(t) ** 3, 0, 40)[0]
        assert by_extremes == pytest.approx(density, abs=2e-3)


def test_a_trial_of_forty_decaying_steps_is_met():
    """Mean distance 0.587 and share 0.322, which a trial of some 2,550 walks had given."""
    mu = end_places(0.95 ** torch.arange(40.0), walks=20_000, seed=0)
    d = (2 * mu - 1).abs()
    assert abs(d.mean() - 0.587) <= 4 * d.std() * math.sqrt(1 / 20_000 + 1 / 2550)
    assert abs(near(mu).mean() - 0.322) <= 4 * math.sqrt(0.32 * 0.68 * (1 / 20_000 + 1 / 2550))


def test_several_kinds_of_walks_are_made_of_the_same_numbers_in_blocks_of_any_size(monkeypatch):
    scales = torch.rand(3, 7, generator=torch.Generator().manual_seed(0))
    found = end_places(scales, walks=100, seed=5)
    assert found.shape == (3, 100) and torch.equal(found[1], end_places(scales[1], walks=100, seed=5))
    assert torch.equal(found[:, :40], end_places(scales, walks=40, seed=5))
    monkeypatch.setattr("flexure.formulas.random_walk._BLOCK", 64)
    assert torch.equal(found, end_places(scales, walks=100, seed=5))


def test_a_walk_that_never_moves_ends_nowhere():
    assert end_places(torch.zeros(4), walks=3, seed=0).isnan().all()
