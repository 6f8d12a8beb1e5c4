import base64
import io
import re

import numpy as np
import pytest
from charts.make import samples as arrays
from PIL import Image

from flexure.page.images import lattice, png, samples


def pixels(uri: str) -> np.ndarray:
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def points(path: str) -> np.ndarray:
    lines = [np.array([p.split(",") for p in line.split()], float) for line in path.split("M")[1:]]
    return np.stack(lines) - 0.5


def test_small_images_are_embedded_pixel_by_pixel():
    image = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5) / 59
    np.testing.assert_array_equal(pixels(png(image, 0, 1)), np.round(image * 255).transpose(1, 2, 0))


def test_gray_images_stay_gray_and_large_ones_are_reduced():
    assert pixels(png(np.zeros((1, 28, 28)), 0, 1)).shape == (28, 28)
    assert pixels(png(np.zeros((3, 448, 224)), 0, 1)).shape == (112, 56, 3)


def test_without_displacement_the_lattice_is_square():
    found = points(lattice(np.zeros((2, 17, 33))))
    assert found.shape == (18, 25, 2)
    np.testing.assert_allclose(found[0], np.stack([np.zeros(25), np.linspace(0, 16, 25)], 1), atol=0.06)
    np.testing.assert_allclose(found[-1], np.stack([np.linspace(0, 32, 25), np.full(25, 16)], 1), atol=0.06)


def test_the_lattice_moves_with_the_image():
    """A bump that is read from its left stands further right; so does the lattice line through it."""
    field = np.zeros((2, 33, 33))
    field[0] = 1.5 * np.sin(np.pi * np.arange(33) / 32)[None] * np.sin(np.pi * np.arange(33) / 32)[:, None]
    line = points(lattice(field))[4]
    columns = np.arange(33)
    image = np.exp(-((columns - 16) ** 2) / 8.0)[None].repeat(33, 0)
    warped = np.stack([np.interp(columns - field[0, row], columns, image[row]) for row in range(33)])
    middle = warped[16] @ columns / warped[16].sum()
    assert line[12, 0] == pytest.approx(middle, abs=0.15) and line[12, 0] > 17.2


def test_small_displacements_are_drawn_larger_and_the_page_says_how_much():
    found = samples(arrays(2, size=224, displacement=1.0), (0, 1), 10**7)
    assert found.magnified == 10 and samples(arrays(2), (0, 1), 10**7).magnified == 1


def test_a_budget_keeps_at_least_one_image():
    everything, little = samples(arrays(4), (0, 1), 10**7), samples(arrays(4), (0, 1), 10)
    assert [len(uris) for _, uris in everything.rows] == [4, 4, 4] and everything.index == [0, 17, 34, 51]
    assert [len(uris) for _, uris in little.rows] == [1, 1, 1] and len(little.lattices) == 1


def test_what_is_missing_is_left_out():
    some = {name: value for name, value in arrays(3).items() if name in ("sample_image", "sample_deformed")}
    found = samples(some, None, 10**7)
    assert [label for label, _ in found.rows] == ["original", "deformed"] and found.lattices == []
    assert samples({}, None, 10**7) is None


def test_cut_values_and_odd_channels_are_mentioned():
    some = {"sample_image": np.full((1, 2, 4, 4), 0.5), "sample_noisy": np.full((1, 2, 4, 4), 1.5)}
    remarks = " ".join(samples(some, (0, 1), 10**7).remarks)
    assert re.search(r"2 channels; shown is their mean.*outside \[0, 1\] are cut for display only", remarks)


def test_numbers_that_are_not_finite_do_not_stop_the_page():
    some = {"sample_image": np.full((1, 1, 4, 4), np.nan)}
    assert pixels(samples(some, None, 10**7).rows[0][1][0]).shape == (4, 4)
