"""Gradients by factors, multiplied out, and by convolutions; their inner products, by halves and by blocks."""

import pytest
import torch
from torch import nn

from flexure.probes.elasticity import contraction
from flexure.probes.elasticity.calls import Calls
from flexure.probes.elasticity.contraction import Products, compact, gram
from flexure.probes.elasticity.factors import Factors, Rows, Same
from tests import gauge

LAYERS = {
    "1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, groups=2), (4, 11)),
    "2d": (lambda: nn.Conv2d(3, 5, (3, 2), padding=(1, 2), dilation=(2, 1)), (3, 6, 7)),
    "2d, even and same": (lambda: nn.Conv2d(3, 4, 4, padding="same", dilation=(2, 1)), (3, 6, 5)),
    "2d, depthwise": (lambda: nn.Conv2d(6, 6, 3, padding="valid", groups=6), (6, 5, 5)),
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=(1, 2, 1)), (2, 4, 5, 3)),
    "1d, transposed": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2, dilation=2), (4, 5)),
    "2d, transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), (4, 5, 4)),
    "3d, transposed": (lambda: nn.ConvTranspose3d(4, 2, 2, stride=2, groups=2), (4, 2, 3, 2)),
}


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel lengths")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("at_a_time", [1, 10**6])
def test_a_convolution_is_what_autograd_gives_image_by_image_both_ways(name, at_a_time, monkeypatch):
    monkeypatch.setattr("flexure.probes.elasticity.factors._NUMBERS", at_a_time)
    make, shape = LAYERS[name]
    layer, x = gauge.seeded(lambda: make().double()), numbers(7, *shape)
    with Calls({id(layer.weight): "weight"}, len(x)) as calls:
        out = layer(x)
    g = numbers(*out.shape, seed=1)
    rows = [torch.autograd.grad(out[i], layer.weight, g[i], retain_graph=True)[0].flatten() for i in range(len(x))]
    part, expected = calls.uses[0].unformed("weight", g), torch.stack(rows)
    factors = part.factors()
    assert part.shape == (*factors.a.shape, factors.b.shape[3])
    torch.testing.assert_close(part.gradients(), expected)
    torch.testing.assert_close(factors.gradients(), expected)
    torch.testing.assert_close(gram(compact(part), compact(part)), expected @ expected.T)


@pytest.mark.parametrize("n", [1, 2, 7, 67, 128])
@pytest.mark.parametrize("at_a_time", [1, 10**6])
@pytest.mark.parametrize("kind", ["vectors", "sequences", "picked", "rows"])
def test_half_a_kernel_is_the_whole_one(n, at_a_time, kind, monkeypatch):
    monkeypatch.setattr(contraction, "_NUMBERS", at_a_time)
    part = {
        "vectors": lambda: Factors(numbers(n, 2, 1, 40), numbers(n, 2, 1, 30, seed=1)),
        "sequences": lambda: Factors(numbers(n, 2, 3, 40), numbers(n, 2, 3, 30, seed=1)),
        "picked": lambda: Same(torch.arange(3 * n).view(n, 3) % 5, numbers(n, 3, 4), 5),
        "rows": lambda: Rows(numbers(n, 9)),
    }[kind]()
    g = part.gradients()
    torch.testing.assert_close(gram(part, part), g @ g.T)
    copy = type(part)(
        **{name: value.clone() if torch.is_tensor(value) else value for name, value in vars(part).items()}
    )
    torch.testing.assert_close(gram(part, copy), g @ g.T)


def test_a_product_is_remembered_for_the_same_numbers_alone():
    products, one = Products(), numbers(70, 3)
    whole = one @ one.T
    torch.testing.assert_close(products.of(one, one), whole)
    assert products.of(one, one) is products.of(one[:], one[:])
    torch.testing.assert_close(products.of(one, one[:5]), whole[:, :5])
    torch.testing.assert_close(products.of(one, one.flip(0)), whole.flip(1))
    torch.testing.assert_close(products.of(one[:, :2], one[:, :2]), one[:, :2] @ one[:, :2].T)
