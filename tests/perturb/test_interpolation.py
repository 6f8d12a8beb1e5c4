"""Pulling images back: exact shifts, the loop-by-loop reference, Gaussian weights, gradients, layouts."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from reference import diffeomorphism as reference

from flexure.errors import ArgumentError
from flexure.perturb.interpolation import INTERPOLATIONS, gaussian_smooth, pull_back

PLAIN = {"bilinear": reference.bilinear, "nearest": reference.nearest, "gaussian": reference.gaussian}


def random(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def constant(images, across, down):
    fields = torch.zeros(len(images), 2, *images.shape[-2:], dtype=images.dtype)
    fields[:, 0], fields[:, 1] = across, down
    return fields


def shifted(x, across, down):
    """Images moved by whole pixels, their outermost pixels repeated."""
    rows = (torch.arange(x.shape[-2]) - down).clamp(0, x.shape[-2] - 1)
    columns = (torch.arange(x.shape[-1]) - across).clamp(0, x.shape[-1] - 1)
    return x[..., rows, :][..., columns]


@settings(max_examples=40, deadline=None)
@given(
    height=st.sampled_from([8, 16, 32]),
    width=st.sampled_from([8, 32, 64]),
    across=st.integers(-40, 40),
    down=st.integers(-40, 40),
    name=st.sampled_from(["bilinear", "nearest"]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_whole_shifts_of_powers_of_two_are_exact_with_the_border_repeated(height, width, across, down, name, dtype):
    x = random(2, 3, height, width, dtype=dtype)
    found = pull_back(x, constant(x, across, down), name)
    assert found.dtype == dtype
    assert torch.equal(found, shifted(x, across, down))


@pytest.mark.parametrize("size", [(28, 28), (224, 224), (30, 45), (7, 200)])
@pytest.mark.parametrize("shift", [(0, 0), (3, -2)])
def test_whole_shifts_of_other_sizes_are_exact_to_the_stated_rounding(size, shift):
    x = random(1, 2, *size, dtype=torch.float32)
    expected = shifted(x, *shift)
    allowed = sum(size) * 1.2e-7  # pixels of position, and neighbors differ by 1 at most
    assert (pull_back(x, constant(x, *shift)) - expected).abs().max() <= allowed
    assert torch.equal(pull_back(x, constant(x, *shift), "nearest"), expected)


@pytest.mark.parametrize(("dtype", "worst"), [(torch.float64, 3e-14), (torch.float32, 2.4e-5)])
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (64, 40), (9, 224)])
@pytest.mark.parametrize("name", ["bilinear", "nearest"])
def test_sampling_equals_four_plain_gathers(name, size, dtype, worst):
    x = random(2, 3, *size, dtype=dtype)
    fields = (random(2, 2, *size, seed=1, dtype=dtype) - 0.5) * 9
    fields[fields.frac().abs().sub(0.5).abs() < 1e-3] += 0.01  # the nearest pixel of a half is either
    expected = torch.stack([PLAIN[name](*pair) for pair in zip(x, fields, strict=True)])
    assert (pull_back(x, fields, name) - expected).abs().max() <= worst


@pytest.mark.parametrize(("dtype", "worst"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [(16, 16), (12, 19)])
def test_gaussian_weights_are_those_over_all_pixels(size, dtype, worst):
    x = random(1, 2, *size, dtype=dtype)
    fields = (random(1, 2, *size, seed=1, dtype=dtype) - 0.5) * 6
    expected = reference.gaussian(x[0].double(), fields[0].double())
    assert (pull_back(x, fields, "gaussian")[0] - expected).abs().max() <= worst


@pytest.mark.parametrize(("reach", "worst"), [(2, 1e-6), (3, 1e-12)])
def test_a_gaussian_is_cut_without_harm(reach, worst):
    x, fields = random(1, 15, 15), (random(2, 15, 15, seed=1) - 0.5) * 6
    whole = reference.gaussian(x, fields)
    assert 0 < (reference.gaussian(x, fields, reach) - whole).abs().max() < worst


def test_gaussian_weights_at_rest_are_those_of_the_papers():
    point = torch.zeros(1, 1, 17, 17, dtype=torch.float64)
    point[..., 8, 8] = 1
    smooth = gaussian_smooth(point)[0, 0]
    weights = smooth.sum(0)[7:10]
    assert weights.tolist() == pytest.approx([0.087, 0.826, 0.087], abs=5e-4)
    assert torch.allclose(smooth, smooth.sum(0) * smooth.sum(1)[:, None], atol=1e-15)
    assert smooth.square().sum() == pytest.approx(0.486, abs=5e-4)
    half = pull_back(point, constant(point, 0.5, 0.5), "gaussian")
    assert half.square().sum() == pytest.approx(0.239, abs=5e-4)


@pytest.mark.parametrize(("dtype", "worst"), [(torch.float64, 1e-13), (torch.float32, 3e-6)])
@pytest.mark.parametrize("size", [(32, 32), (28, 20)])
def test_smoothing_is_gaussian_interpolation_at_rest(size, dtype, worst):
    x = random(2, 3, *size, dtype=dtype)
    assert (gaussian_smooth(x) - pull_back(x, constant(x, 0, 0), "gaussian")).abs().max() <= worst
    assert torch.allclose(gaussian_smooth(torch.ones_like(x)), torch.ones_like(x))


def test_white_noise_moved_by_a_fraction_changes_by_twice_its_square():
    x = torch.randn(40, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for a in (0.1, 0.5, 1.0):
        change = (pull_back(x, constant(x, a, 0)) - x)[..., 2:].square()
        per_image = change.mean((1, 2, 3))
        assert abs(per_image.mean() - 2 * a * a) <= 4 * per_image.std() / math.sqrt(40)


@pytest.mark.parametrize("name", ["bilinear", "gaussian"])
def test_gradients_reach_images_and_fields(name):
    x = random(1, 2, 7, 8).requires_grad_()
    fields = (random(1, 2, 7, 8, seed=1) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, f: pull_back(x, f, name), (x, fields))


def test_the_layout_in_memory_does_not_matter():
    x = random(2, 3, 16, 16, dtype=torch.float32)
    fields = (random(2, 2, 16, 16, seed=1, dtype=torch.float32) - 0.5) * 4
    for name in INTERPOLATIONS:
        planar = pull_back(x, fields, name)
        assert torch.allclose(pull_back(x.to(memory_format=torch.channels_last), fields, name), planar, atol=1e-6)


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_half_precision_images_are_placed_in_float32(name):
    x = random(2, 3, 32, 32, dtype=torch.float16)
    fields = ((random(2, 2, 32, 32, seed=1) - 0.5) * 4).float()
    found = pull_back(x, fields, name)
    assert found.dtype == torch.float16
    assert torch.equal(found, pull_back(x.float(), fields, name).half())


@pytest.mark.parametrize(
    ("x", "fields", "name", "words"),
    [
        (torch.rand(1, 1, 8, 8), torch.zeros(1, 2, 8, 8), "linear", "no interpolation 'linear'. .*bilinear"),
        (torch.rand(1, 8, 8), torch.zeros(1, 2, 8, 8), "bilinear", r"\(b, C, H, W\); got shape \(1, 8, 8\)"),
        (
            torch.rand(2, 1, 8, 8),
            torch.zeros(1, 2, 8, 8),
            "bilinear",
            r"need fields of shape \(2, 2, 8, 8\); got \(1, 2",
        ),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 2, 8, 8), "bilinear", "floating point.*uint8"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(x, fields, name, words):
    with pytest.raises(ArgumentError, match=words):
        pull_back(x, fields, name)
