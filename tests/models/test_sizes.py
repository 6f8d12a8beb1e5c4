"""Widths are scaled, images framed and maps averaged only where they have to be."""

import math

import pytest
import torch

from flexure.errors import ArgumentError
from flexure.models.sizes import averaged, padded, scaled


def test_a_layer_has_four_channels_at_least():
    assert [scaled(64, width) for width in (2.0, 1.0, 0.5, 0.01)] == [128, 64, 32, 4]


@pytest.mark.parametrize("width", [0, -1, math.nan, math.inf])
def test_a_width_that_is_no_factor_is_refused(width):
    with pytest.raises(ArgumentError, match=r"width is a factor and must be a finite number > 0.*1\.0 is as published"):
        scaled(64, width)


def test_small_images_stand_in_the_middle_of_a_frame_of_zeros():
    x = torch.ones(1, 1, 28, 29)
    y = padded(x, 32)
    assert y.shape == (1, 1, 32, 32)
    assert torch.equal(y[..., 2:30, 1:30], x)
    assert y.sum() == x.sum()


def test_images_and_maps_of_the_right_size_are_handed_back():
    x = torch.rand(1, 1, 32, 40)
    assert padded(x, 32) is x
    y = torch.rand(1, 2, 5, 5)
    assert averaged(y, 5) is y


def test_larger_maps_are_averaged():
    x = torch.rand(1, 2, 4, 4)
    assert torch.allclose(averaged(x, 2)[0, 0, 1, 0], x[0, 0, 2:, :2].mean())
