"""Path counts against walks, closed forms, the published numbers, and what happens in many layers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.paths import counts

from flexure.errors import ArgumentError
from flexure.formulas.path_counts import (
    check_layers,
    decay_exponent,
    effective_size,
    one_pixel_sensitivities,
    path_counts,
)

LAYERS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4)


@given(LAYERS)
@settings(max_examples=40, deadline=None)
def test_counts_are_those_of_paths_walked_one_by_one(layers):
    kernels, strides = zip(*layers, strict=True)
    found = path_counts(kernels, strides)[-1].tolist()
    assert {place: n for place, n in enumerate(found) if n} == counts(kernels, strides)
    assert sum(found) == math.prod(kernels)


@given(LAYERS, st.integers(1, 20))
@settings(max_examples=40, deadline=None)
def test_around_a_ring_counts_are_wrapped(layers, ring):
    kernels, strides = zip(*layers, strict=True)
    for line, wrapped in zip(path_counts(kernels, strides), path_counts(kernels, strides, ring=ring), strict=True):
        expected = torch.zeros(ring, dtype=torch.float64).index_add(0, torch.arange(len(line)) % ring, line)
        assert torch.equal(wrapped, expected)


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_kernels_as_wide_as_the_stride_see_every_pixel_alike(kernel):
    for k, n in enumerate(path_counts([kernel] * 4, [kernel] * 4), 1):
        assert torch.equal(n, torch.ones(kernel**k, dtype=torch.float64))
        assert effective_size(n) == kernel**k


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_without_stride_the_effective_size_grows_as_a_root_of_depth(kernel):
    n = path_counts([kernel] * 100, [1] * 100)[-1]
    assert effective_size(n) == pytest.approx(2 * math.sqrt(math.pi * 100 * (kernel**2 - 1) / 12), rel=0.01)


@pytest.mark.parametrize(("k", "g"), [(1, 0.662), (4, 2.98), (7, 27.6), (8, 82.2)])
def test_g_of_one_pixel_has_the_published_values(k, g):
    found = one_pixel_sensitivities(path_counts([2] * k, [2] * k, ring=512)[-1])
    assert found[1] == pytest.approx(g, rel=2e-3)
    assert found[2] == found[0] / found[1]


def test_d_of_one_pixel_where_kernel_and_stride_agree():
    d, *_ = one_pixel_sensitivities(path_counts([2] * 4, [2] * 4, ring=512)[-1])
    assert d == pytest.approx(1 / 16 / (1 - 16 / 512))


def test_a_ring_seen_evenly_tells_no_images_apart():
    assert all(math.isnan(value) for value in one_pixel_sensitivities(path_counts([2] * 3, [2] * 3, ring=8)[-1]))


@pytest.mark.parametrize(
    ("kernel", "stride", "alpha"),
    [(2, 1, 2), (3, 1, 2), (5, 1, 2), (2, 2, 1), (3, 3, 1), (4, 4, 1), (4, 2, 2), (3, 2, 0), (5, 2, 0)],
)
def test_exponents_have_their_published_values(kernel, stride, alpha):
    assert decay_exponent(kernel, stride) == alpha


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2), (6, 2), (8, 2), (6, 3), (9, 3), (8, 4), (3, 2), (5, 4)])
def test_exponents_are_the_slopes_of_many_layers(kernel, stride):
    depth = 9 if stride < 4 else 6
    logs = []
    for n in path_counts([kernel] * depth, [stride] * depth)[-2:]:
        steps = np.diff(np.concatenate([[0], n.numpy(), [0]]))
        logs.append((math.log(effective_size(n)), math.log((steps**2).sum() / n.square().sum())))
    (a, d), (later_a, later_d) = logs
    assert -(later_d - d) / (later_a - a) == pytest.approx(decay_exponent(kernel, stride), abs=0.02)


def test_slopes_over_finite_depth_are_biased_as_published():
    depth = range(5, 41)
    found = [one_pixel_sensitivities(n) for n in path_counts([3] * 40, [1] * 40, ring=512)[4:]]
    size = np.log([2 * math.sqrt(math.pi * k * 8 / 12) for k in depth])  # the published fit is over this estimate of A
    slopes = [np.polyfit(size, np.log(values), 1)[0] for values in zip(*found, strict=True)]
    assert slopes == pytest.approx([-1.90, 0.85, -2.75], abs=0.006)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: path_counts([2, 2], [2]), "2 kernels and 1 strides; expected one of each per layer"),
        (lambda: path_counts([], []), "0 kernels"),
        (lambda: path_counts([0], [1]), r"at least 1; got \(0,\) and \(1,\)"),
        (lambda: check_layers([2.5], [1]), "whole numbers"),
        (lambda: path_counts([2], [1], ring=0), "ring must be at least 1 pixel; got 0"),
        (lambda: decay_exponent(1, 1), "with kernels of 1 a unit sees one pixel at any depth"),
        (lambda: decay_exponent(2, 0), "at least 1"),
    ],
)
def test_what_is_no_layer_is_refused_in_words(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
