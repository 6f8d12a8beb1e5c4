"""What is known on paper of elasticity, beside what those of limit and steps hold: formulas, scales, invariances."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from flexure.analysis.distance import against_distance
from flexure.data import Manifold
from flexure.losses import Squared
from flexure.probes.elasticity import elasticity
from tests import gauge
from tests.probes.elasticity.test_limit import images, mlp


class Scaled(nn.Module):
    """Another network's output times a number, plus a number."""

    def __init__(self, model, factor=1.0, shift=0.0):
        super().__init__()
        self.model, self.factor, self.shift = model, factor, shift

    def forward(self, x):
        return self.factor * self.model(x) + self.shift


@pytest.mark.parametrize("step", [None, 1e-2, 1.0])
def test_an_affine_network_moves_all_points_by_the_same_products_at_any_step(step):
    x, y = images()
    found, flat = elasticity(mlp(16, 1), (x, y), step=step), x.flatten(1).numpy()
    expected = np.abs(flat @ flat.T + 1) / (np.square(flat).sum(1) + 1)[:, None]
    np.testing.assert_allclose(found["relative"], expected, rtol=1e-10)


def test_both_layers_of_an_infinitely_wide_network_make_the_arc_cosine_kernel():
    width, generator = 200_000, torch.Generator().manual_seed(0)
    x = torch.tensor([[[[1.0, 0.5]]], [[[-0.3, 1.2]]], [[[-1.0, -0.4]]], [[[0.9, 0.7]]]]).double()
    inner = nn.Sequential(nn.Flatten(), nn.Linear(2, width, bias=False), nn.ReLU(), nn.Linear(width, 1, bias=False))
    with torch.no_grad():
        for layer in (inner[1], inner[3]):
            layer.weight.normal_(generator=generator)
    found = elasticity(Scaled(inner.double(), 1 / math.sqrt(width)), x)["kernel"]
    flat = x.flatten(1).numpy()
    norms = np.linalg.norm(flat, axis=1)
    product, lengths = flat @ flat.T, np.outer(norms, norms)
    angle = np.arccos(np.clip(product / lengths, -1, 1))
    bend = np.sin(angle) + (np.pi - angle) * np.cos(angle)
    expected = (product * (np.pi - angle) + lengths * bend) / (2 * np.pi)
    with torch.no_grad():
        z, a = inner[1](x.flatten(1)), inner[3].weight[0]
        units = torch.einsum("ir,jr->ijr", (z > 0).double() * a, (z > 0).double() * a)
        units = units * torch.from_numpy(product)[..., None] + torch.einsum("ir,jr->ijr", z.relu(), z.relu())
        error = units.std(2).numpy() / math.sqrt(width)
    assert (np.abs(found - expected) <= 4 * error).all()


@pytest.mark.parametrize("loss", ["squared", {"squared": {"half": True}}, "binary_cross_entropy", "hinge"])
def test_the_limit_knows_neither_labels_nor_loss(loss):
    (x, y), model = images(), mlp(16, 9, 1)
    kernel = elasticity(model, x)["kernel"]
    for labels in (y, 1 - y, torch.zeros_like(y)):
        np.testing.assert_array_equal(elasticity(model, (x, labels), loss=loss)["kernel"], kernel)


@pytest.mark.parametrize(("factor", "shift"), [(3.0, 0.0), (-0.5, 0.0), (1.0, 7.0), (2.0, -1.0)])
def test_in_the_limit_a_scale_is_squared_in_the_kernel_and_cancels_elsewhere(factor, shift):
    (x, _), model = images(), mlp(16, 9, 1)
    plain, scaled = elasticity(model, x), elasticity(Scaled(model, factor, shift), x)
    np.testing.assert_allclose(scaled["kernel"], factor**2 * plain["kernel"], rtol=1e-12)
    for name in ("relative", "relative_signed", "cosine"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-10)


def test_steps_of_finite_size_know_labels_losses_and_scales():
    (x, y), model = images(), mlp(16, 9, 1)
    found = elasticity(model, (x, y), step=0.1)
    others = [
        elasticity(model, (x, 1 - y), step=0.1),
        elasticity(model, (x, y), step=0.1, loss="binary_cross_entropy"),
        elasticity(Scaled(model, 1.0, 7.0), (x, y), step=0.1),
    ]
    for other in others:
        for name in ("kernel", "relative"):
            assert not np.allclose(other[name], found[name], rtol=1e-3)


def test_the_mean_of_a_step_forth_and_one_back_is_right_to_second_order():
    (x, y), model, forth = images(), mlp(16, 9, 1, activation=nn.Tanh), Squared()
    limit = elasticity(model, x)["kernel"]

    def back(outputs, labels):
        return -forth(outputs, labels)

    def gap(step):
        both = [elasticity(model, (x, y), step=step, loss=loss)["kernel"] for loss in (forth, back)]
        return np.linalg.norm(sum(both) / 2 - limit)

    assert gap(1e-2) / gap(1e-3) == pytest.approx(100, rel=0.05)


def test_layers_add_up_to_the_whole():
    (x, _), model = images(), mlp(16, 9, 6, 1)
    found = elasticity(model, x, per_layer=True)
    layers = [found[name] for name in found.arrays if name.startswith("kernel/")]
    assert len(layers) == 3
    np.testing.assert_allclose(sum(layers), found["kernel"], rtol=1e-13)


def test_single_precision_differs_by_rounding_alone():
    (x, _), model = images(), mlp(16, 9, 1).float()
    one, two = (elasticity(model, x.float(), dtype=dtype)["kernel"] for dtype in ("float32", "float64"))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    assert one.dtype == two.dtype == np.float64


def test_a_network_with_batch_norm_is_measured_as_it_answers_and_stays_in_training_mode():
    layers = (nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 1))
    (x, _), model = images(), nn.Sequential(*layers).double()
    model[1].running_mean.fill_(0.3)
    expected = elasticity(model.eval(), x)["kernel"]
    np.testing.assert_array_equal(elasticity(model.train(), x)["kernel"], expected)
    assert model.training and float(model[1].running_mean[0]) == 0.3


@pytest.mark.slow
def test_on_the_torus_a_trained_networks_similarity_falls_with_distance():
    points = Manifold("torus-curves", draw="authors", distance="authors")
    batch = points.read(range(len(points)))
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3, 2048), nn.ReLU(), nn.Linear(2048, 1)))
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-4)
    for _ in range(4000):
        optimizer.zero_grad()
        Squared()(model(batch.x), batch.y).mean().backward()
        optimizer.step()
    here = np.flatnonzero(points.labels == 1)
    found = elasticity(model, batch.x[here], dtype="float64")
    table = against_distance(found, points.distances[np.ix_(here, here)], similarity="relative", diagonal=True).table
    assert -0.99 <= table["pearson"][0] <= -0.90
