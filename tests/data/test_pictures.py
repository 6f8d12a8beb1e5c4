"""Pictures of every kind become bytes of the wanted shape, without surprises in their values."""

import numpy as np
import pytest
import torch
from PIL import Image

from flexure.data.pictures import as_size, fit, fit_picture, to_array, to_tensor
from flexure.errors import ArgumentError, DataError


def picture(height: int, width: int, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values[:, :, 0] if channels == 1 else values)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_what_is_asked_for(mode, channels):
    source = Image.fromarray(np.zeros((4, 6), np.uint16)) if mode == "I;16" else picture(4, 6).convert(mode)
    assert to_array(source, channels).shape == (4, 6, channels)


def test_gray_pictures_stay_gray_where_nothing_is_asked_for():
    assert to_array(picture(4, 6, 1), None).shape == (4, 6, 1)
    assert to_array(picture(4, 6).convert("RGBA"), None).shape == (4, 6, 3)


def test_sixteen_bit_gray_is_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert to_array(Image.fromarray(values), 1)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparent_palettes_warn_nobody():
    source = picture(4, 4).convert("P")
    source.info["transparency"] = bytes([0, 255])
    assert to_array(source, 3).shape == (4, 4, 3)


def test_floating_point_pictures_are_refused():
    with pytest.raises(DataError, match="convert it to 8 bits"):
        to_array(Image.fromarray(np.zeros((2, 2), np.float32)), 3)


def test_fitting_keeps_the_center():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (np.asarray(fit_picture(Image.fromarray(wide), (10, 10))) == 200).all()
    x = torch.from_numpy(wide).permute(2, 0, 1)[None].float()
    assert torch.equal(fit(x, (10, 10)), torch.full((1, 3, 10, 10), 200.0))


SIZES = [((30, 20), (10, 10)), ((17, 40), (8, 12)), ((5, 5), (9, 7)), ((7, 9), (7, 9))]


@pytest.mark.parametrize(("found", "wanted"), SIZES)
def test_both_ways_of_fitting_give_the_wanted_size(found, wanted):
    source = picture(*found)
    assert fit_picture(source, wanted).size == (wanted[1], wanted[0])
    x = torch.from_numpy(np.asarray(source).copy()).permute(2, 0, 1)[None].float()
    assert fit(x, wanted).shape == (1, 3, *wanted)


def test_both_ways_of_fitting_agree_to_rounding_when_shrinking():
    source = picture(64, 96)
    x = torch.from_numpy(np.asarray(source).copy()).permute(2, 0, 1)[None].float()
    ours = fit(x, (16, 16))[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - np.asarray(fit_picture(source, (16, 16)), dtype=float)).max() < 1.5


def test_shrinking_is_antialiased():
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1
    assert (fit(stripes, (8, 8)) - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("size", [0, (4, 0), (1, 2, 3), -3])
def test_sizes_that_make_no_sense_are_refused(size):
    with pytest.raises(ArgumentError, match="image_size must be one side or"):
        as_size(size)


def test_one_number_is_a_square():
    assert as_size(7) == (7, 7)
    assert as_size(None) is None


def test_arrays_are_read_with_channels_last_and_tensors_with_channels_first():
    assert to_tensor(np.zeros((8, 9, 3), np.uint8)).shape == (3, 8, 9)
    assert to_tensor(np.zeros((3, 8, 9), np.uint8)).shape == (3, 8, 9)
    assert to_tensor(np.zeros((8, 9), np.uint8)).shape == (1, 8, 9)
    assert to_tensor(torch.zeros(3, 8, 9)).shape == (3, 8, 9)


def test_something_else_is_refused_with_its_shape():
    with pytest.raises(DataError, match=r"got Tensor \(2, 3, 4, 5\)"):
        to_tensor(torch.zeros(2, 3, 4, 5))
    with pytest.raises(DataError, match="got str"):
        to_tensor("a.jpg")
