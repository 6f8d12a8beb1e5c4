"""Indices of fuzziness: closed forms, what every index owes, where two of them fail, and what descent on them does."""

import math

import pytest
import torch
from reference.fuzziness import INDEX
from scipy import integrate, special

from flexure.errors import ArgumentError
from flexure.formulas.fuzziness import (
    INDICES,
    AlphaQuadratic,
    DeLucaTermini,
    KaufmannLinear,
    KaufmannQuadratic,
    Kosko,
    OrderAlpha,
    Quadratic,
    Yager,
    as_index,
)

EVERY = [
    *INDICES,
    {"yager": {"p": 1}},
    {"yager": {"p": 3.5}},
    {"alpha_quadratic": {"alpha": 0.1}},
    {"alpha_quadratic": {"alpha": 1}},
    {"order_alpha": {"alpha": 0.5}},
    {"order_alpha": {"alpha": 1}},
]
every_index = pytest.mark.parametrize("index", [as_index(choice) for choice in EVERY], ids=str)


def rand(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def full(value, *shape, dtype=torch.float64):
    return torch.full(shape, value, dtype=dtype)


@every_index
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_0_where_all_is_decided_and_1_where_nothing_is(index, dtype):
    assert index(torch.tensor([0.0, 1.0, 1.0, 0.0, -0.5, 7.0], dtype=dtype)).item() == 0
    assert index(full(0.5, 3, 4, dtype=dtype)).item() == pytest.approx(1, abs=torch.finfo(dtype).eps)


@every_index
def test_it_does_not_mind_which_side_is_which(index):
    mu = rand(7, 11)
    assert index(mu).item() == index(1 - mu).item()


@pytest.mark.parametrize("choice", EVERY, ids=str)
def test_it_is_the_formula_s_number_by_number(choice):
    name, options = (choice, {}) if isinstance(choice, str) else next(iter(choice.items()))
    if options == {"alpha": 1} and name == "order_alpha":
        name, options = "de_luca_termini", {}  # its limit
    mu = rand(4, 25)
    assert as_index(choice)(mu).item() == pytest.approx(INDEX[name](mu.flatten().tolist(), **options), rel=1e-13)


@pytest.mark.parametrize(
    ("name", "mu", "value"),
    [
        ("de_luca_termini", 0.1, 0.325083 / math.log(2)),
        ("de_luca_termini", 0.25, 0.562335 / math.log(2)),
        ("quadratic", 0.1, 0.36),
        ("exponential", 0.1, 0.370905),
        ("order_alpha", 0.1, 0.286304),
        ("kaufmann_linear", 0.1, 0.2),
        ("kosko", 0.1, 1 / 9),
        ("sine", 1 / 6, 0.5),
    ],
)
def test_a_single_membership_has_the_value_known_on_paper(name, mu, value):
    assert as_index(name)(full(mu, 1)).item() == pytest.approx(value, abs=1e-6)


UNIFORM = [
    ("de_luca_termini", 0.5 / math.log(2)),
    ("kaufmann_linear", 0.5),
    ("kaufmann_quadratic", 3**-0.5),
    ({"yager": {"p": 1}}, 0.5),
    ("yager", 1 - 3**-0.5),
    ({"yager": {"p": 5}}, 1 - 6 ** (-1 / 5)),
    ("kosko", 1 / 3),
    ("quadratic", 2 / 3),
    ("alpha_quadratic", math.pi / 4),
    ({"alpha_quadratic": {"alpha": 0.3}}, 4**0.3 * special.beta(1.3, 1.3)),
    ("exponential", (2 * math.e - 5) / (math.sqrt(math.e) - 1)),
    ("order_alpha", (2 - math.pi / 2) / math.log(2)),
    ({"order_alpha": {"alpha": 0.5}}, 0.823),
    ("sine", 2 / math.pi),
]


@pytest.mark.parametrize(("choice", "value"), UNIFORM, ids=str)
def test_uniform_memberships_have_the_value_of_the_closed_form(choice, value):
    index = as_index(choice)
    mean, _ = integrate.quad(lambda x: index.terms(full(x, 1)).item(), 0, 1, points=[0.5])
    tolerance = 5e-4 if value == 0.823 else 1e-9
    assert index.link(full(mean, 1)).item() == pytest.approx(value, abs=tolerance)
    mu = rand(20_000)
    terms = index.terms(mu)
    error = index.slope(terms.mean()).abs() * terms.std() / len(mu) ** 0.5
    assert abs(index(mu).item() - value) <= 4 * error.item() + tolerance


@every_index
def test_the_slope_of_the_link_is_that_of_autograd(index):
    mean = index.terms(rand(50)).mean().requires_grad_()
    (slope,) = torch.autograd.grad(index.link(mean), mean)
    assert index.slope(mean.detach()).item() == pytest.approx(slope.item(), rel=1e-12)


@every_index
def test_it_never_rises_where_memberships_are_sharpened(index):
    for seed in range(500):
        mu, far = rand(1 + seed % 5, seed=seed), rand(1 + seed % 5, seed=1000 + seed)
        sharper = torch.where(mu < 0.5, mu * far, 1 - (1 - mu) * far)
        assert index(sharper) <= index(mu) + 1e-15


def violations(index, cases=400):
    """How often a chord between few memberships, crisp and undecided ones among them, lies above the index."""
    below = 0
    for seed in range(cases):
        n = 1 + seed % 3
        ends = []
        for side in (0, 1):
            mu = rand(n, seed=2 * seed + side)
            special_points = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)[(mu * 3).long()]
            ends.append(special_points if seed % 2 else mu)
        t = rand(1, seed=5000 + seed)
        mixed = index(t * ends[0] + (1 - t) * ends[1])
        below += bool(mixed < t * index(ends[0]) + (1 - t) * index(ends[1]) - 1e-12)
    return below


@every_index
def test_it_is_concave_where_it_says_so(index):
    assert (violations(index) == 0) is index.is_concave


def test_the_order_decides_whether_that_entropy_is_concave():
    assert OrderAlpha(alpha=2).is_concave and not OrderAlpha(alpha=4).is_concave
    assert violations(OrderAlpha(alpha=4)) > 0
    assert not KaufmannQuadratic().is_concave and not Kosko().is_concave


def test_kaufmann_s_linear_index_is_yager_s_of_exponent_1_and_the_quadratic_one_that_of_alpha_1():
    mu = rand(40)
    torch.testing.assert_close(KaufmannLinear()(mu), Yager(p=1)(mu), rtol=1e-15, atol=0)
    torch.testing.assert_close(Quadratic()(mu), AlphaQuadratic(alpha=1)(mu), rtol=1e-15, atol=0)


def test_de_luca_and_termini_s_index_follows_its_series_in_the_distance_from_the_center():
    d = torch.linspace(0, 0.1, 6, dtype=torch.float64)
    series = 1 - d**2 / (2 * math.log(2)) - d**4 / (12 * math.log(2))
    torch.testing.assert_close(DeLucaTermini().terms((1 + d) / 2), series, rtol=0, atol=1e-6)


@every_index
def test_the_gradient_is_that_of_finite_differences(index):
    mu = (0.02 + 0.45 * rand(6)).requires_grad_()
    assert torch.autograd.gradcheck(index, mu)
    assert torch.autograd.gradcheck(index, (1 - mu).detach().requires_grad_())


def test_the_gradient_of_the_entropy_is_the_log_of_the_odds():
    mu = rand(9).requires_grad_()
    (slope,) = torch.autograd.grad(DeLucaTermini()(mu), mu)
    torch.testing.assert_close(slope, -torch.log(mu / (1 - mu)).detach() / (9 * math.log(2)), rtol=1e-12, atol=0)


@every_index
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_0_at_the_center_and_finite_everywhere(index, dtype):
    mu = torch.tensor([0.5, 0.0, 1.0, 1e-9, 1 - 1e-8, 1e-38, -3.0, 2.0], dtype=dtype, requires_grad=True)
    value = index(mu)
    (slope,) = torch.autograd.grad(value, mu)
    assert math.isfinite(value.item()) and torch.isfinite(slope).all()
    assert slope[0] == 0 and slope[[1, 2, 6, 7]].tolist() == [0, 0, 0, 0]


@every_index
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_the_gradient_is_0_where_all_memberships_are_at_the_center_or_at_an_end(index, value):
    mu = full(value, 5, dtype=torch.float32).requires_grad_()
    assert torch.autograd.grad(index(mu), mu)[0].tolist() == [0] * 5


def test_a_clamp_bounds_the_slope_and_stops_it_beyond():
    mu = torch.tensor([0.0005, 0.0011, 0.9995, 0.3], requires_grad=True)
    (slope,) = torch.autograd.grad(DeLucaTermini()(mu, clamp=1e-3), mu)
    assert slope[[0, 2]].tolist() == [0, 0]
    assert 0 < slope[1] <= math.log(999) / (4 * math.log(2))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("de_luca", "no index of fuzziness 'de_luca'. Did you mean 'de_luca_termini'"),
        ({"yager": {"q": 2}}, "index of fuzziness yager: no option 'q'. Valid: p"),
        ({"sine": {"p": 2}}, "index of fuzziness sine: no option 'p'. It has none"),
        ({"yager": {"p": 0.5}}, "Yager: p must be at least 1 and finite; got 0.5"),
        ({"alpha_quadratic": {"alpha": 0}}, "AlphaQuadratic: alpha must be above 0 and at most 1; got 0"),
        ({"order_alpha": {"alpha": -1}}, "OrderAlpha: alpha must be above 0 and finite; got -1"),
        ({"sine": {}, "kosko": {}}, "expected one name, with its options beneath it; got sine, kosko"),
        ({"yager": [2]}, r"index of fuzziness yager: expected its options by name, .* got \[2\]"),
    ],
    ids=str,
)
def test_a_wrong_index_is_named(choice, words):
    with pytest.raises(ArgumentError, match=words):
        as_index(choice)


def test_an_index_is_printed_with_its_options():
    assert [str(as_index(choice)) for choice in EVERY[:4]] == [
        "de_luca_termini",
        "kaufmann_linear",
        "kaufmann_quadratic",
        "yager(p=2)",
    ]
    assert str(Yager(p=1.5)) == "yager(p=1.5)"


def descend(slope, mu, rate, steps):
    """Projected gradient descent in the unit box."""
    for _ in range(steps):
        mu = (mu - rate * slope(mu)).clamp(0, 1)
    return mu


def test_a_loss_that_is_linear_in_the_box_leads_to_a_corner():
    g = torch.randn(150, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    passed = [descend(lambda mu: g, rand(150), 0.02, steps) for steps in (0, 40, 400, 40_000)]
    fuzzy = [DeLucaTermini()(mu).item() for mu in passed]
    assert fuzzy[0] > 0.7 and fuzzy == sorted(fuzzy, reverse=True) and fuzzy[-1] == 0
    assert torch.equal(passed[-1], (g < 0).double())


def test_a_convex_loss_with_its_optimum_inside_leads_away_from_the_corners():
    best, start = 0.3 + 0.4 * rand(150, seed=1), rand(150)
    end = descend(lambda mu: 2 * (mu - best), start, 0.05, 200)
    torch.testing.assert_close(end, best)
    assert DeLucaTermini()(end) > 0.9 > 0.8 > DeLucaTermini()(start)


def test_descent_on_the_entropy_keeps_every_weight_on_its_side_and_leaves_the_center_exponentially():
    start, n = rand(150), 150
    rate, steps = 0.01, 400
    mu = start.clone()
    for _ in range(steps):
        before = torch.logit(mu)
        inner = mu.clone().requires_grad_()
        (slope,) = torch.autograd.grad(DeLucaTermini()(inner), inner)
        mu = (mu - rate * slope * math.log(2)).clamp(1e-12, 1 - 1e-12)
        inside = (mu > 1e-12) & (mu < 1 - 1e-12)
        grown = torch.logit(mu).abs() / before.abs()
        assert (grown[inside] >= 1 + 4 * rate / n).all()  # d logit / dt is at least 4 logit / n
    assert torch.equal(mu > 0.5, start > 0.5)
    far = descend(lambda mu: -torch.logit(mu.clamp(1e-9, 1 - 1e-9)), start, 0.02, 2000)
    assert DeLucaTermini()(far).item() == 0 and torch.equal(far > 0.5, start > 0.5)
