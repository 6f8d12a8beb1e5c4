"""Exact sensitivities of constant filters against closed forms and against layers computed place by place."""

import math

import pytest
import torch
from reference.paths import layers

from flexure.data import ScaleDetection
from flexure.errors import ArgumentError
from flexure.formulas.path_counts import one_pixel_sensitivities, path_counts
from flexure.formulas.path_sensitivities import path_maps, path_sensitivities
from flexure.perturb.translation import LocalTranslation

SIZES = [(2, 2), (3, 1), (4, 2), (3, 2)]


def spread(features):
    """Mean squared distance of two images, pairs of an image with itself included."""
    return float((features[:, None] - features[None]).square().sum(-1).mean())


def emitted(x, kernels, strides):
    """Features of each layer for all images, computed place by place."""
    per_image = [layers(image, kernels, strides) for image in x]
    return [torch.stack([part[k].flatten() for part in per_image]) for k in range(len(kernels))]


@pytest.mark.parametrize(("kernel", "stride"), SIZES)
def test_one_lit_pixel_on_a_ring_gives_the_closed_form(kernel, stride):
    kernels, strides = [kernel] * 4, [stride] * 4
    found = path_sensitivities(torch.eye(64)[:, None], torch.eye(64).roll(1, 1), kernels, strides)
    for k, n in enumerate(path_counts(kernels, strides, ring=64)):
        d, g, r = one_pixel_sensitivities(n)
        assert (float(found.D[k]), float(found.G[k]), float(found.R[k])) == pytest.approx((d, g, r), rel=1e-12)


def test_noise_that_only_the_first_layer_rectifies_counts_for_less():
    moves = LocalTranslation(periodic=True).moves(1, 512)
    found = path_sensitivities(torch.eye(512)[:, None], moves, [2] * 8, [2] * 8, noise="sphere")
    assert found.G[-1].item() == pytest.approx(41, abs=0.5)
    assert path_sensitivities(torch.eye(512)[:, None], moves, [2] * 8, [2] * 8).G[-1].item() == pytest.approx(
        82.2, 1e-3
    )


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_maps_are_what_layers_do_to_each_pixel(kernel, stride):
    maps = path_maps([kernel, 2], [stride, 1], 7)
    for pixel in range(7):
        x = torch.zeros(1, 7, dtype=torch.float64)
        x[0, pixel] = 1
        for phi, y in zip(maps, layers(x, [kernel, 2], [stride, 1]), strict=True):
            assert torch.equal(phi[:, pixel], y[0])


@pytest.mark.parametrize("move", [LocalTranslation(), LocalTranslation(True), LocalTranslation(block=4)])
def test_d_is_the_mean_over_every_pair_of_moves(move):
    """Two lit pixels on a line of 8, near and on top of each other after a hop: every outcome with its probability."""
    moves, kernels, strides = move.moves(1, 8), [3, 2], [1, 2]
    x = torch.zeros(4, 1, 8, dtype=torch.float64)
    for image, (p, q) in zip(x, [(0, 1), (3, 5), (2, 7), (4, 6)], strict=True):
        image[0, p], image[0, q] = 1.0, 2.0
    clean = emitted(x, kernels, strides)
    total = [0.0, 0.0]
    for i, image in enumerate(x):
        (p, q), (v, w) = image[0].nonzero()[:, 0].tolist(), image[0][image[0] > 0].tolist()
        for a in range(8):
            for b in range(8):
                bent = torch.zeros(1, 8, dtype=torch.float64)
                bent[0, a] += v
                bent[0, b] += w
                for k, y in enumerate(layers(bent, kernels, strides)):
                    change = float((y.flatten() - clean[k][i]).square().sum())
                    total[k] += float(moves[p, a] * moves[q, b]) * change / 4
    found = path_sensitivities(x, moves, kernels, strides)
    assert found.D.tolist() == pytest.approx([t / spread(y) for t, y in zip(total, clean, strict=True)], rel=1e-12)


@pytest.mark.parametrize("noise", ["rectified", "sphere"])
@pytest.mark.parametrize("shape", [(1, 16), (6, 6)])
def test_g_is_the_mean_over_noises(noise, shape):
    generator = torch.Generator().manual_seed(0)
    kernels, strides, pixels = [2, 2], [2, 1], shape[0] * shape[1]
    x = torch.zeros(3, *shape, dtype=torch.float64)
    for image, (p, q) in zip(x.view(3, -1), [(0, 9), (3, 5), (7, 15)], strict=True):
        image[p] = image[q] = 50.0  # so that noise silences no unit that sees a lit pixel
    moves = 1e-6 * LocalTranslation().moves(*shape) + (1 - 1e-6) * torch.eye(pixels, dtype=torch.float64)
    clean = emitted(x, kernels, strides)
    r2 = _squared_moves(x.view(3, -1), moves)
    draws = []
    for i in range(3):
        for _ in range(400):
            g = torch.randn(pixels, generator=generator, dtype=torch.float64) * (r2[i] / pixels).sqrt()
            eta = g.clamp(min=0) if noise == "rectified" else g / g.norm() * r2[i].sqrt()
            shaken = layers(x[i] + eta.view(shape), kernels, strides)
            draws.append([float((y.flatten() - c[i]).square().sum()) for y, c in zip(shaken, clean, strict=True)])
    draws = torch.tensor(draws).double()
    found = path_sensitivities(x, moves, kernels, strides, noise=noise)
    scale = torch.tensor([spread(y) for y in clean])
    mean, se = draws.mean(0) / scale, draws.std(0) / math.sqrt(len(draws)) / scale
    assert ((mean - found.G).abs() <= 4 * se).all() and (se / mean < 0.05).all()


def _squared_moves(x, moves):
    """Expected squared change of each image when its lit pixels hop, pixel pair by pixel pair."""
    identity = torch.eye(len(moves), dtype=torch.float64)
    found = []
    for image in x:
        steps = {int(p): float(image[p]) * (identity - identity[p]) for p in image.nonzero()[:, 0]}
        mean = {p: moves[p] @ step for p, step in steps.items()}
        own = sum(float(moves[p] @ step.square().sum(1)) - float(mean[p].square().sum()) for p, step in steps.items())
        found.append(own + float(sum(mean.values()).square().sum()))
    return torch.tensor(found, dtype=torch.float64)


def test_scale_brightness_and_order_of_images_make_no_difference():
    data = ScaleDetection(dimensions=1, size=40)
    x, moves = data.read(range(40)).x[:, 0], data.translation.moves(1, 128)
    one = path_sensitivities(x, moves, [3, 3], [2, 2])
    for other in (x * 7, x.flip(0)):
        two = path_sensitivities(other, moves, [3, 3], [2, 2])
        torch.testing.assert_close(torch.stack([two.D, two.G]), torch.stack([one.D, one.G]), rtol=1e-12, atol=0)
    apart = path_sensitivities(x, moves, [3, 3], [2, 2], same_pairs=False)
    torch.testing.assert_close(apart.D, one.D * 39 / 40, rtol=1e-12, atol=0)


def test_in_two_dimensions_sizes_multiply_and_a_unit_that_sees_all_has_no_sensitivity():
    data = ScaleDetection(side=8, scale=4, size=30, test_size=30)
    x = data.read(range(30)).x[:, 0]
    found = path_sensitivities(x, data.translation.moves(8, 8), [2, 2, 2], [2, 2, 2])
    assert found.A.tolist() == [4, 16, 64] and found.D[:2].isfinite().all()
    assert found.D[2].isnan() and found.G[2].isnan()


def test_hops_inside_blocks_are_invisible_to_units_as_large():
    data = ScaleDetection(dimensions=1, task="blocks", size=100)
    found = path_sensitivities(data.read(range(100)).x[:, 0], data.translation.moves(1, 128), [2] * 5, [2] * 5)
    assert found.D[4] == 0 and (found.D[:4] > 0).all() and found.G[4] > 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.zeros(3, 4)}, r"at least 2 images \(n, H, W\).*got \(3, 4\)"),
        ({"moves": torch.eye(3)}, r"and \(3, 3\)"),
        ({"x": -torch.eye(4)[:, None]}, "pixels must not be negative"),
        ({"noise": "sfere"}, "no noise 'sfere'. Did you mean 'sphere'"),
        ({"strides": [1, 1]}, "1 kernels and 2 strides"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(change, words):
    options = {"x": torch.eye(4)[:, None], "moves": torch.eye(4), "kernels": [2], "strides": [2]} | change
    with pytest.raises(ArgumentError, match=words):
        path_sensitivities(**options)
    with pytest.raises(ArgumentError, match="side must be at least 1 pixel"):
        path_maps([2], [2], 0)
