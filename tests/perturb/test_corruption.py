"""Gaussian corruption: its norm, its key, and level 0."""

import math

import pytest
import torch

from flexure.errors import ArgumentError
from flexure.perturb.corruption import LEVELS, GaussianCorruption, unit_noise

SHAPE = (3, 8, 8)


def mean_norm(d: int) -> float:
    """Of a vector of d independent normal numbers of variance 1/d: the mean of the chi law over the root of d."""
    return math.sqrt(2 / d) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))


@pytest.mark.parametrize("shape", [(1, 2, 3), SHAPE, (3, 32, 32)])
def test_the_level_is_the_norm_of_the_noise_and_not_a_pixels_standard_deviation(shape):
    n, d = 500, math.prod(shape)
    noise = GaussianCorruption(10.0)(torch.zeros(n, *shape, dtype=torch.float64), torch.arange(n), seed=0)
    norms = noise.flatten(1).norm(dim=1) / 10
    mean = mean_norm(d)
    assert abs(norms.mean() - mean) <= 4 * math.sqrt((1 - mean**2) / n)
    assert abs(norms.square().mean() - 1) <= 4 * math.sqrt(2 / d / n)


def test_the_mean_norm_of_a_color_image_of_32_pixels_is_the_level_to_one_in_ten_thousand():
    assert mean_norm(3072) == pytest.approx(0.99992, abs=1e-5)


def test_every_pixel_of_every_channel_is_as_noisy():
    n, d = 4000, math.prod(SHAPE)
    noise = unit_noise(torch.zeros(n, *SHAPE, dtype=torch.float64), torch.arange(n), seed=0).flatten(1)
    assert noise.mean(0).abs().max() <= 4.5 * math.sqrt(1 / d / n)  # of 192 means the largest
    assert (noise.square().mean(0) * d - 1).abs().max() <= 4.5 * math.sqrt(2 / n)


def test_level_0_gives_the_images_back_bit_for_bit():
    x = torch.tensor([-0.0, 0.1, torch.inf, 1e-40]).view(1, 1, 2, 2)
    assert GaussianCorruption(LEVELS[0])(x, torch.arange(1), seed=0) is x
    assert GaussianCorruption(1.0).clean(x) is x


def test_levels_differ_by_size_alone():
    x, index = torch.zeros(3, *SHAPE, dtype=torch.float64), torch.arange(3)
    small, large = (GaussianCorruption(level)(x, index, seed=0) for level in (0.01, 30.0))
    assert torch.allclose(small * 3000, large, rtol=1e-12)


def test_noise_depends_on_seed_image_and_draw_alone():
    index = torch.tensor([3, 2**50, 0])
    x = torch.zeros(3, *SHAPE)
    corrupt = GaussianCorruption(1.0)
    together = corrupt(x, index, seed=1, draw=2)
    for row in range(3):
        assert torch.equal(corrupt(x[:1], index[[row]], seed=1, draw=2), together[[row]])
    for other in (corrupt(x, index, seed=2, draw=2), corrupt(x, index, seed=1, draw=3), corrupt(x, index, seed=1)):
        assert not torch.equal(other, together)
    assert torch.equal(corrupt(x, index, seed=1, draw=torch.tensor([2, 2, 2])), together)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_images_keep_their_type(dtype):
    x = torch.ones(2, *SHAPE, dtype=dtype)
    found = GaussianCorruption(1.0)(x, torch.arange(2), seed=0)
    assert found.dtype == dtype
    wide = GaussianCorruption(1.0)(x.double(), torch.arange(2), seed=0)
    assert torch.allclose(found.double(), wide, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("level", [-0.1, math.nan, math.inf])
def test_a_level_that_is_no_size_is_refused(level):
    with pytest.raises(ArgumentError, match=r"a level must be finite, 0 or more; got (-0\.1|nan|inf)"):
        GaussianCorruption(level)


def test_images_without_an_index_each_are_refused():
    with pytest.raises(ArgumentError, match="2 images need as many indices; got 3"):
        GaussianCorruption(1.0)(torch.zeros(2, *SHAPE), torch.arange(3), seed=0)
