"""The digits that need no download."""

import numpy as np

from flexure.data import load


def test_the_digits_as_they_are():
    images = load("digits8")
    batch = images.read(range(len(images)))
    assert batch.x.shape == (1797, 1, 8, 8)
    assert (batch.x.min(), batch.x.max()) == (0, 1)
    assert (batch.x * 16 == (batch.x * 16).round()).all()
    assert np.bincount(images.labels).min() == 174


def test_the_digits_enlarged_keep_their_mean_and_range():
    small, large = load("digits8").read(range(1797)).x, load("digits").read(range(1797)).x
    assert large.shape == (1797, 1, 28, 28)
    assert large.min() >= 0
    assert large.max() <= 1
    assert (small.mean((1, 2, 3)) - large.mean((1, 2, 3))).abs().max() < 0.01


def test_enlarging_is_bilinear():
    small, large = load("digits8").read([0]).x[0, 0], load("digits").read([0]).x[0, 0]
    where = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    row = np.interp(where, np.arange(8), small[0].numpy())
    np.testing.assert_allclose(large[0].numpy(), row, atol=1e-6)
