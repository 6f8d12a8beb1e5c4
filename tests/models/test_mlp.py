"""The fully connected networks: the formula, layer by layer, and the law of their weights."""

import pytest
import torch

from flexure import Specimen
from flexure.errors import SpecimenError
from flexure.models import reinitialized
from flexure.models.mlp import MLP, densenetl2, densenetl4, densenetl6


@pytest.mark.parametrize(("build", "depth"), [(densenetl2, 2), (densenetl4, 4), (densenetl6, 6)])
def test_depth_counts_linear_layers_and_only_the_last_has_no_bias(build, depth):
    model = build()
    weights = [p for p in model.parameters() if p.ndim == 2]
    biases = [p for p in model.parameters() if p.ndim == 1]
    assert (len(weights), len(biases)) == (depth, depth - 1)
    assert sum(p.numel() for p in model.parameters()) == (3072 + 1) * 64 + (depth - 2) * 65 * 64 + 640


def test_the_output_is_that_of_the_formula():
    model = MLP(3, num_classes=2, channels=1, image_size=(3, 4), width=0.125).double()
    x = torch.rand(5, 1, 3, 4, dtype=torch.float64)
    (w1, b1), (w2, b2), (w3,) = ([*layer.parameters()] for layer in list(model.layers)[::2])
    y = x.reshape(5, 12)
    for w, b in ((w1, b1), (w2, b2)):
        y = torch.relu(y @ w / len(w) ** 0.5 + b)
    assert torch.allclose(model(x), y @ w3 / 8, rtol=1e-12)


def test_every_weight_starts_as_a_standard_normal_number():
    torch.manual_seed(0)
    weights = densenetl4().layers.linear1.weight.detach().flatten().double()
    n = len(weights)
    assert abs(weights.mean()) < 4 / n**0.5
    assert abs(weights.square().mean() - 1) < 4 * (2 / n) ** 0.5


def test_fresh_weights_need_no_factory():
    fresh = reinitialized(Specimen(densenetl2(width=0.1)), 0)
    assert fresh.layers.linear1.weight.std().item() == pytest.approx(1, abs=0.05)


def test_images_of_another_shape_are_named_with_the_way_out():
    words = r"made for images of 3×32×32; got 1×28×28\. Build it for those: resolve\(…, channels=…, image_size=…\)"
    with pytest.raises(SpecimenError, match=words):
        densenetl2()(torch.rand(2, 1, 28, 28))
