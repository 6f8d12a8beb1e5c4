"""Sketched kernels: right on average, as far off as the formula says, and the same whatever the batch."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from flexure.bench import mount
from flexure.errors import ArgumentError
from flexure.probes.elasticity import elasticity
from flexure.probes.elasticity.factors import Factors
from flexure.probes.elasticity.sketch import Outer, Sketch, Whole
from flexure.probes.elasticity.sketched import SketchStrips
from flexure.probes.elasticity.tangent import Tangent
from flexure.specimen import Specimen
from tests import gauge
from tests.reference.sketch_variance import of_outer, of_whole
from tests.reference.tangent_kernel import tangent_kernel

SEEDS = 150


class Small(nn.Module):
    """A grouped convolution, a layer used twice, a scale without a rule."""

    def __init__(self):
        super().__init__()
        self.conv, self.shared = nn.Conv2d(4, 4, 3, groups=2), nn.Linear(4, 4)
        self.scale, self.head = nn.Parameter(torch.ones(4) * 1.5), nn.Linear(16, 2)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.head((self.shared(self.shared(x).tanh()) * self.scale).flatten(1))


def images(n=5):
    return torch.randn(n, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    return gauge.seeded(lambda: Small().double())


def kernels(model, x, size, outer, outputs=(0, 1), seeds=SEEDS):
    """A sketched kernel for each seed ``(seeds, n, n)``, and its variance by the formula."""
    with mount(Specimen.of(model)) as mounted:
        tangent = Tangent.of(mounted, x)
        sketch = replace(Sketch.of(tangent, x, outputs, size, 0), outer=frozenset(outer))
        parts = list(sketch.parts(x, outputs))
        rows = [replace(sketch, seed=seed, drawn={}).of_parts(parts, x)[0] for seed in range(seeds)]
        scale = sketch.variance(sketch.rows(x)[1])
    exact = sum(tangent_kernel(model, x, outputs).values())
    return torch.stack([one @ one.T for one in rows]).numpy(), exact, (scale @ scale.T).numpy() / size + exact**2 / size


FACTORED = ("conv.weight", "shared.weight", "head.weight")


def positive(*shape, seed=0):
    """Numbers of one sign, so that collisions do not cancel by themselves."""
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.2


def check(products, exact, variance):
    """Products of two sketches, one for each seed, against their mean and variance."""
    products = np.array(products)
    squares = np.square(products - exact)
    assert abs(products.mean() - exact) <= 4 * products.std(ddof=1) / np.sqrt(len(products))
    assert abs(squares.mean() - variance) <= 4 * squares.std(ddof=1) / np.sqrt(len(products))


def test_sketches_of_vectors_have_the_mean_and_variance_of_the_formula():
    g, size, products = positive(2, 29), 5, []
    for seed in range(1500):
        found = torch.zeros(2, size, dtype=torch.float64)
        Whole.of(29, size, seed, "w", g.device, g.dtype).add(g, found)
        products.append(float(found[0] @ found[1]))
    (one, two), bound = g.numpy(), float(g.square().sum(1).prod() + (g[0] @ g[1]) ** 2) / size
    check(products, one @ two, of_whole(one, two, size))
    assert 0.7 * bound < of_whole(one, two, size) <= bound


@pytest.mark.parametrize("size", [7, 8])
def test_sketches_of_products_have_the_mean_and_variance_of_the_formula(size):
    part, products = Factors(positive(2, 1, 2, 5), positive(2, 1, 2, 4, seed=1)), []
    for seed in range(1000):
        found = torch.zeros(2, size, dtype=torch.float64)
        Outer.of(part, size, seed, "w").add(part, found)
        products.append(float(found[0] @ found[1]))
    one, two = part.gradients().view(2, 4, 5).numpy()
    exact, norms = (one * two).sum(), (one**2).sum() * (two**2).sum()
    check(products, exact, of_outer(one, two, size))
    assert of_outer(one, two, size) <= (norms + exact**2 + 4 * (1 + 1 / size) * norms) / size


@pytest.mark.parametrize("outer", [(), FACTORED], ids=["whole", "factors"])
def test_it_is_right_on_average_and_no_more_off_than_the_formula_says(outer):
    model = gauge.seeded(lambda: Small().double())
    with torch.no_grad():
        for p in model.parameters():
            p.abs_()
    found, exact, variance = kernels(model, images(3).abs(), 24, outer, outputs=(0,))
    assert (np.abs(found.mean(0) - exact) <= 4 * found.std(0, ddof=1) / np.sqrt(len(found))).all()
    squares = np.square(found - exact)
    assert (squares.mean(0) <= variance + 4 * squares.std(0) / np.sqrt(len(found))).all()
    assert squares.mean() > 0.3 * variance.mean(), "a bound that says little"


@pytest.mark.parametrize("outer", [(), FACTORED], ids=["whole", "factors"])
def test_four_times_the_numbers_halve_the_error(model, outer):
    errors = []
    for size in (16, 64):
        found, exact, _ = kernels(model, images(3), size, outer, outputs=(0,))
        squared = np.square(found - exact).mean((1, 2))
        errors.append((squared.mean(), squared.std(ddof=1) / np.sqrt(len(squared))))
    (one, one_error), (two, two_error) = errors
    assert abs(one / two - 4) <= 4 * 4 * np.hypot(one_error / one, two_error / two)


def test_neither_batch_nor_order_nor_company_matters(model):
    x = images(9)
    with mount(Specimen.of(model)) as mounted:
        sketch = replace(Sketch.of(Tangent.of(mounted, x), x[:2], [0, 1], 32, 3), outer=frozenset(FACTORED[:2]))
        whole, own = sketch.rows(x)
        for batch in (1, 2, 5):
            parts = SketchStrips(sketch, x, batch).strip(0)
            torch.testing.assert_close(parts["sketch"], whole, rtol=1e-12, atol=1e-13)
            torch.testing.assert_close(parts["own"], own, rtol=1e-12, atol=1e-13)
        order = torch.tensor([3, 1, 8, 0, 2, 4, 7, 6, 5])
        torch.testing.assert_close(sketch.rows(x[order])[0], whole[order], rtol=1e-12, atol=1e-13)


def test_the_sum_over_parameters_is_exact(model):
    x = images()
    table = elasticity(model, x, sketch=8).to_frame().set_index("layer")
    exact = elasticity(model, x).to_frame().set_index("layer")
    for column in ("share", "kernel_self", "share_se"):
        np.testing.assert_allclose(table[column], exact[column], rtol=1e-10)


def test_the_answer_says_how_far_it_may_be_off(model):
    x = images(40)
    found, exact = elasticity(model, x, sketch=512, seed=1), elasticity(model, x)
    about, own = found.provenance["diagnostics"], np.diagonal(exact["kernel"])
    assert found.provenance["route"] == "sketch" and about["sketch"] == 512 and about["sketch_images"] == 32
    gap, errors = found["kernel"] - exact["kernel"], found["kernel_se"]
    assert (np.abs(gap) <= 4 * errors).mean() > 0.97
    np.testing.assert_allclose(errors, np.sqrt((np.outer(own, own) + found["kernel"] ** 2) / 512), rtol=1e-9)
    some = np.unique(np.linspace(0, 39, 32).astype(int))
    few = np.ix_(some, some)
    assert about["sketch_error"] == pytest.approx(np.linalg.norm(gap[few]) / np.linalg.norm(exact["kernel"][few]))
    assert about["sketch_worst"] == pytest.approx(np.max(np.abs(gap[few]) / errors[few]))
    assert any("projected to 512 numbers" in note and "off by" in note for note in found.notes)
    assert np.abs(found["cosine"]).max() <= 1 + 1e-12
    np.testing.assert_allclose(np.diagonal(found["relative"]), 1, rtol=1e-12)


def test_other_points_are_sketched_by_the_same_numbers(model):
    x = images(9)
    whole, parts = elasticity(model, x, sketch=64), elasticity(model, x[:4], points=x[4:], sketch=64)
    np.testing.assert_allclose(parts["kernel"], whole["kernel"][:4, 4:], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(parts["kernel_se"], whole["kernel_se"][:4, 4:], rtol=1e-9)


def test_factors_are_taken_where_the_weight_is_large_and_nothing_of_its_size_is_made():
    wide = nn.Sequential(nn.Flatten(), nn.Linear(2000, 3000), nn.ReLU(), nn.Linear(3000, 1))
    x = torch.rand(3, 1, 40, 50, generator=torch.Generator().manual_seed(0))
    with mount(Specimen.of(wide)) as mounted:
        sketch = Sketch.of(Tangent.of(mounted, x), x, [0], 64, 0)
    assert sketch.outer == {"1.weight"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sketch": 1}, "sketch must be a whole number of at least 2, or None; got 1"),
        ({"sketch": 9, "per_layer": True}, "so per_layer= excludes it"),
        ({"sketch": 9, "output": "all"}, "so output='all' excludes it"),
        ({"sketch": 9, "step": 1e-3, "output": 0}, r"sketch= is for the limit \(step=None\)"),
    ],
)
def test_what_cannot_be_sketched_is_refused(model, options, words):
    with pytest.raises(ArgumentError, match=words):
        elasticity(model, images(), **options)
