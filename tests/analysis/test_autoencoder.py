"""The autoencoder: its sizes, its seed, what it learns."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from flexure.analysis.agreement import agreement
from flexure.analysis.autoencoder import Autoencoder, encode
from flexure.errors import ArgumentError


def pictures(n=12, side=28, channels=1, seed=0):
    """Noise on bright upper halves, then on bright lower halves."""
    x = 0.1 * torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(seed))
    x[: n // 2, :, : side // 2] += 0.8
    x[n // 2 :, :, side // 2 :] += 0.8
    return x


@pytest.mark.parametrize(("side", "features"), [(16, 8), (28, 32), (32, 32), (64, 200)])
def test_images_of_any_size_come_back_in_their_own(side, features):
    model = Autoencoder(3)
    x = pictures(2, side, channels=3)
    assert model(x).shape == x.shape and model(x).abs().max() <= 1
    assert model.encoder(x).flatten(1).shape == (2, features)


def test_layers_are_those_of_the_published_one():
    sizes = [sum(p.numel() for p in part.parameters()) for part in (Autoencoder(1).encoder, Autoencoder(1).decoder)]
    assert sizes == [(9 + 1) * 16 + (9 * 16 + 1) * 8, (9 * 8 + 0) * 16 + 16 + 25 * 16 * 8 + 8 + 4 * 8 + 1]
    assert Autoencoder(1).decoder(torch.zeros(1, 8, 2, 2)).shape == (1, 1, 28, 28)


def test_codes_depend_on_the_seed_and_leave_the_global_generator_alone():
    x, before = pictures(), torch.get_rng_state()
    one, two, other = (encode(x, epochs=2, seed=seed) for seed in (1, 1, 2))
    assert one.shape == (12, 32) and one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_scaling_and_shifting_all_values_changes_nothing():
    x = pictures().double()
    np.testing.assert_allclose(encode(x, epochs=3), encode(8 * x - 3, epochs=3), atol=1e-4)


def test_codes_tell_pictures_apart_that_differ():
    codes = encode(pictures(), epochs=30)
    found = KMeans(2, n_init=10, random_state=0).fit_predict(codes)
    assert agreement(np.repeat([0, 1], 6), found).accuracy == 1


def test_images_all_alike_have_codes_all_alike():
    codes = encode(torch.full((3, 1, 28, 28), 0.5), epochs=2)
    assert np.isfinite(codes).all() and np.ptp(codes, axis=0).max() < 1e-6


def test_more_epochs_bring_the_images_closer(monkeypatch):
    losses = []
    monkeypatch.setattr("flexure.analysis.autoencoder.F.mse_loss", _noting(losses))
    encode(pictures(), epochs=60)
    assert len(losses) == 60 and losses[-1] < 0.7 * losses[0]


def _noting(losses):
    mse = torch.nn.functional.mse_loss

    def noted(*args):
        losses.append(float((value := mse(*args)).detach()))
        return value

    return noted


def test_small_images_and_no_epochs_are_refused():
    with pytest.raises(ArgumentError, match="images are 8×8; its two poolings need at least 16×16"):
        encode(pictures(side=8))
    with pytest.raises(ArgumentError, match="epochs must be at least 1; got 0"):
        encode(pictures(), epochs=0)
