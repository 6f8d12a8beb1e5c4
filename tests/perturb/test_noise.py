"""Noise of a given norm: exact norms, no preferred direction, keyed by image and draw."""

import math

import pytest
import torch

from flexure.errors import ArgumentError
from flexure.perturb.noise import match_magnitude, sphere


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_image_has_exactly_its_norm(dtype):
    like = torch.zeros(5, 3, 8, 6, dtype=dtype)
    norms = torch.tensor([0.0, 0.5, 1.0, 20.0, 3e4], dtype=dtype)
    noise = sphere(like, torch.arange(5), seed=0, magnitude=norms)
    assert noise.shape == like.shape
    assert noise.dtype == dtype
    assert torch.allclose(noise.flatten(1).norm(dim=1), norms, rtol=10 * torch.finfo(dtype).eps)
    assert torch.equal(noise[0], like[0])


def test_no_direction_is_preferred():
    noise = sphere(torch.zeros(4000, 1, 3, 2, dtype=torch.float64), torch.arange(4000), seed=0, magnitude=2.0).flatten(
        1
    )
    assert noise.mean(0).abs().max() <= 4 * math.sqrt(4 / 6 / 4000)
    second = noise.T @ noise / 4000
    # of the uniform law on a sphere of radius r in d dimensions: E x⁴ = 3 r⁴/(d (d + 2)), E x²y² a third of that
    fourth = 3 * 2**4 / (6 * 8)
    off = second - torch.diag(second.diag())
    assert (second.diag() - 4 / 6).abs().max() <= 4 * math.sqrt((fourth - (4 / 6) ** 2) / 4000)
    assert off.abs().max() <= 4 * math.sqrt(fourth / 3 / 4000)


def test_noise_depends_on_seed_image_and_draw_alone():
    index = torch.tensor([3, 2**50, 0])
    like = torch.zeros(3, 2, 7, 5)
    together = sphere(like, index, seed=1, draw=2)
    for row in range(3):
        assert torch.equal(sphere(like[:1], index[[row]], seed=1, draw=2), together[[row]])
    mixed = sphere(like, index, seed=1, draw=torch.tensor([2, 0, 2]))
    assert torch.equal(mixed[[0, 2]], together[[0, 2]])
    for other in (sphere(like, index, seed=2, draw=2), sphere(like, index, seed=1, draw=3), mixed):
        assert not torch.equal(other[1], together[1])


def test_half_precision_and_an_asked_dtype():
    like, index = torch.zeros(2, 1, 4, 4, dtype=torch.float16), torch.arange(2)
    wide = sphere(like, index, seed=0, dtype=torch.float32)
    assert wide.dtype == torch.float32
    assert torch.equal(sphere(like, index, seed=0), wide.half())
    assert sphere(like[:0], index[:0], seed=0).shape == (0, 1, 4, 4)


@pytest.mark.parametrize(
    ("match", "sigma", "expected"),
    [
        ("per_image", None, [3.0, 4.0, 0.0]),
        ("batch_mean", None, [7 / 3] * 3),
        ("batch_rms", None, [math.sqrt(25 / 3)] * 3),
        ("fixed", 1.5, [1.5] * 3),
    ],
)
def test_norms_are_matched_as_asked(match, sigma, expected):
    clean = torch.ones(3, 2, 4, 4, dtype=torch.float64)
    deformed = clean.clone()
    deformed[0, 1, 2, 3] += 3
    deformed[1, 0, :2, :2] -= 2
    found = match_magnitude(clean, deformed, match=match, sigma=sigma)
    assert found.tolist() == pytest.approx(expected, rel=1e-14)
    noise = sphere(clean, torch.arange(3), seed=0, magnitude=found)
    assert noise.flatten(1).norm(dim=1).tolist() == pytest.approx(expected, rel=1e-13)


def test_half_precision_norms_are_taken_in_float32():
    clean = torch.zeros(1, 1, 300, 300, dtype=torch.float16)
    assert match_magnitude(clean, clean + 300).tolist() == pytest.approx([9e4])  # beyond what half precision holds


X = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: match_magnitude(X, X, match="image"), "no way 'image' to match its norm. .*per_image"),
        (lambda: match_magnitude(X, X, match="fixed"), "sigma goes with match='fixed' alone; .*sigma=None"),
        (lambda: match_magnitude(X, X, sigma=1.0), "got match='per_image' and sigma=1.0"),
        (lambda: match_magnitude(X, X, match="fixed", sigma=-1.0), "finite, 0 or more; got -1.0"),
        (lambda: sphere(X, torch.arange(3), seed=0), "2 images need as many indices; got 3"),
        (lambda: sphere(X, torch.arange(2), seed=0, magnitude=math.nan), "finite, 0 or more; got nan"),
        (lambda: sphere(X, torch.arange(2), seed=0, magnitude=torch.ones(3)), r"each of 2 images; got shape \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
