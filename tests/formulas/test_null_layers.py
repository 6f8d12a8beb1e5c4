"""Layers of independent weights: closed forms, quadrature by SciPy, and layers that were really drawn."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from flexure.formulas.fuzziness import INDICES, DeLucaTermini, KaufmannLinear, as_index
from flexure.formulas.memberships import Ends, as_interval, membership
from flexure.formulas.null_layers import LAWS, null_of_fixed_ends, null_of_moving_ends

SCIPY = {
    "uniform": stats.uniform(-(3**0.5), 12**0.5),
    "gaussian": stats.norm(),
    "laplace": stats.laplace(scale=0.5**0.5),
}
ROOT3 = math.sqrt(3)


def ends(low, high, **more):
    return Ends(*(torch.tensor(np.atleast_1d(end), dtype=torch.float64) for end in (low, high)), **more)


def drawn(law, *shape, seed=0):
    return LAWS[law].draw(shape, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("law", LAWS)
def test_laws_have_mean_0_and_variance_1_and_are_scipys(law):
    x, own = torch.linspace(-1.7, 1.7, 9, dtype=torch.float64), SCIPY[law]
    np.testing.assert_allclose(LAWS[law].density(x), own.pdf(x), rtol=1e-12)
    p = np.array([1e-12, 1e-3, 0.3])
    np.testing.assert_allclose(LAWS[law].upper(p), own.isf(p), rtol=1e-9)
    assert own.moment(4) == pytest.approx(LAWS[law].fourth) and own.var() == pytest.approx(1)
    assert stats.kstest(drawn(law, 4000).numpy(), own.cdf).pvalue > 6e-5


@pytest.mark.parametrize("choice", INDICES)
def test_a_uniform_layer_between_its_own_bounds_has_the_closed_form(choice):
    index = as_index(choice)
    found = null_of_fixed_ends(index, "uniform", ends(-0.2, 0.2), 0.2 / ROOT3, 150)
    mean, _ = integrate.quad(lambda x: index.terms(torch.tensor([x], dtype=torch.float64)).item(), 0, 1, points=[0.5])
    assert found.value == pytest.approx(index.link(torch.tensor(mean, dtype=torch.float64)).item(), abs=1e-9)
    if choice == "de_luca_termini":
        assert found.value == pytest.approx(0.5 / math.log(2), abs=1e-9)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.3, 2.0), (-9.0, 9.0), (0.5, 0.9), (-200.0, 200.0)])
@pytest.mark.parametrize(
    "choice", ["de_luca_termini", "kaufmann_linear", {"yager": {"p": 1}}, {"alpha_quadratic": {"alpha": 0.3}}]
)
def test_expectations_are_those_of_scipys_quadrature(law, low, high, choice):
    index, own = as_index(choice), SCIPY[law]

    def term(x):
        mu = min(max((x - low) / (high - low), 0), 1)
        return index.terms(torch.tensor([mu], dtype=torch.float64)).item() * own.pdf(x)

    cuts = sorted({-60.0, -ROOT3, low, (low + high) / 2, 0.0, high, ROOT3, 60.0} | {-8.0, -2.0, 2.0, 8.0})
    mean = sum(integrate.quad(term, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(cuts))
    found = null_of_fixed_ends(index, law, ends(0.05 * low, 0.05 * high), 0.05, 400)
    assert found.value == pytest.approx(index.link(torch.tensor(mean, dtype=torch.float64)).item(), abs=2e-7)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("r", [0.5, 1.7, 3.0])
@pytest.mark.parametrize("choice", ["de_luca_termini", "kosko", "sine"])
def test_95_of_100_layers_differ_from_that_of_their_own_size_by_less_than_1_96_spreads(law, r, choice):
    index, n, layers = as_index(choice), 2400, 150
    weight = drawn(law, layers, n, seed=1)
    interval = ends(-r, r)
    gaps = []
    for one in weight:
        found = null_of_fixed_ends(index, law, interval, float(one.square().mean().sqrt()), n)
        gaps.append((index(membership(one, interval)).item() - found.value) / found.std)
    gaps = np.array(gaps)
    assert abs(gaps.mean()) <= 4 / layers**0.5 + 0.05  # a nonlinear link has a bias of order 1/n
    assert abs(gaps.var() - 1) <= 4 * math.sqrt(2 / layers) + 0.05


def test_an_index_that_is_a_function_of_the_size_does_not_spread_at_that_size():
    found = null_of_fixed_ends(as_index("yager"), "uniform", ends(-3.0, 3.0), 1.0, 150)
    assert found.value == pytest.approx(1 - 1 / 3) and found.std < 1e-7


def test_several_intervals_are_averaged():
    found = null_of_fixed_ends(DeLucaTermini(), "gaussian", ends([-1.0, -0.2], [0.5, 2.0]), 0.7, 100)
    each = [null_of_fixed_ends(DeLucaTermini(), "gaussian", ends(*pair), 0.7, 100) for pair in ((-1, 0.5), (-0.2, 2.0))]
    assert found.value == pytest.approx(sum(one.value for one in each) / 2)


MOVING = ["minmax", "symmetric", "abs", "quantile"]


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", MOVING)
@pytest.mark.parametrize("size", [9, 150, 6000])
def test_moving_ends_give_what_layers_that_are_drawn_give(law, kind, size):
    index, interval = DeLucaTermini(), as_interval(kind)
    found = null_of_moving_ends(index, law, interval, 1, size)
    layers = max(100, 20_000 // size)
    weight = drawn(law, layers, size, seed=2)
    mu = membership(weight, as_interval({kind: {"scope": "filter"}}).ends(weight))
    values = index.terms(mu).mean(1).numpy()
    assert abs(values.mean() - found.value) <= 4 * found.std * math.sqrt(1 / layers + 1 / 87)
    assert abs(values.std(ddof=1) / found.std - 1) <= 4 * math.sqrt(1 / 2 / layers + 1 / 2 / 87) + 0.03


def test_a_uniform_layer_is_uniform_between_its_own_extremes():
    for size in (150, 2400, 50_000):
        found = null_of_moving_ends(DeLucaTermini(), "uniform", as_interval("minmax"), 1, size)
        assert abs(found.value - (size - 2) / size * 0.5 / math.log(2)) <= 4 * found.std / math.sqrt(256) + 1e-9


TABLE = [
    (150, "uniform", 0.505, 0.713, 0.504, 0.716), (150, "gaussian", 0.313, 0.877, 0.544, 0.681),
    (150, "laplace", 0.256, 0.910, 0.689, 0.530), (2400, "uniform", 0.501, 0.720, 0.500, 0.721),
    (2400, "gaussian", 0.237, 0.933, 0.593, 0.639), (2400, "laplace", 0.166, 0.964, 0.768, 0.441),
]  # fmt: skip


@pytest.mark.parametrize(("n", "law", "d_minmax", "f_minmax", "d_abs", "f_abs"), TABLE)
def test_random_layers_are_as_fuzzy_as_was_measured_elsewhere(n, law, d_minmax, f_minmax, d_abs, f_abs):
    for kind, d, f in (("minmax", d_minmax, f_minmax), ("abs", d_abs, f_abs)):
        assert null_of_moving_ends(DeLucaTermini(), law, as_interval(kind), 1, n).value == pytest.approx(f, abs=0.01)
        linear = null_of_moving_ends(KaufmannLinear(), law, as_interval(kind), 1, n).value
        assert 1 - linear == pytest.approx(d, abs=0.01)


def test_more_sets_spread_less_and_a_set_of_one_weight_has_no_interval():
    one, many = (null_of_moving_ends(DeLucaTermini(), "gaussian", as_interval("minmax"), k, 25) for k in (1, 64))
    assert one.value == many.value and many.std == pytest.approx(one.std / 8)
    assert math.isnan(null_of_moving_ends(DeLucaTermini(), "gaussian", as_interval("minmax"), 9, 1).value)
    other = null_of_moving_ends(DeLucaTermini(), "gaussian", as_interval("minmax"), 1, 25, seed=1)
    assert other.value != one.value and abs(other.value - one.value) < 8 * one.std / math.sqrt(2**19 / 25)
