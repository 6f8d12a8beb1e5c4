"""Other transforms than diffeomorphisms, rectified noise, and maps averaged over channels."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError
from flexure.perturb.diffeomorphism import Diffeomorphism
from flexure.perturb.noise import rectified
from flexure.perturb.translation import LocalTranslation
from tests.probes.interrupted import Shelf, stopping
from tests.probes.sensitivity.specimens import After, row


@dataclass(frozen=True)
class Roll:
    """Every image one pixel to the side, round the edge."""

    by: int = 1

    def clean(self, x):
        return x

    def __call__(self, x, index, *, seed, draw):
        return x.roll(self.by, dims=3)


# Transforms


def test_a_transform_takes_the_place_of_the_deformation(x, model):
    found = flexure.sensitivity(model, x, transform=Roll())
    with torch.no_grad():
        numerator = (model(x.roll(1, dims=3)) - model(x)).square().sum(1).mean()
        spread = 2 * model(x).var(0, correction=0).sum()
    assert row(found)["D"] == pytest.approx(float(numerator / spread), rel=1e-10)
    assert row(flexure.sensitivity(nn.Identity(), x, transform=Roll(), dtype="float64"))["R"] == pytest.approx(1, 1e-12)


def test_what_does_not_see_the_transform_has_no_sensitivity_to_it(x):
    model = nn.Sequential(nn.AdaptiveAvgPool2d((None, 1)), nn.Flatten())
    assert row(flexure.sensitivity(model, x, transform=Roll(), dtype="float64"))["D"] == pytest.approx(0, abs=1e-20)


def test_the_same_deformation_given_as_a_transform_is_the_same_measurement(x, model):
    plain = flexure.sensitivity(model, x, cutoff=4, displacement=1.5)
    given = flexure.sensitivity(model, x, transform=Diffeomorphism(cutoff=4, displacement=1.5))
    assert plain.to_frame().equals(given.to_frame())
    assert plain.notes == given.notes
    np.testing.assert_array_equal(plain["sample_field"], given["sample_field"])


def test_local_translations_are_measured():
    x = torch.zeros(40, 1, 1, 32, dtype=torch.float64)
    place = torch.arange(40)
    x[place, 0, 0, place % 15], x[place, 0, 0, 16 + place * 7 % 15] = 4.0, 4.0
    found = flexure.sensitivity(nn.Identity(), x, transform=LocalTranslation(), dtype="float64")
    assert row(found)["R"] == pytest.approx(1, abs=1e-12)
    moved = (found["sample_deformed"] - found["sample_image"]) ** 2
    assert set(moved.sum((1, 2, 3)).tolist()) <= {32.0, 48.0, 64.0, 80.0, 96.0}


def test_it_is_recorded_by_its_repr_and_shows_no_field_it_does_not_have(x, model):
    found = flexure.sensitivity(model, x, transform=Roll(2))
    assert found.provenance["settings"]["transform"] == "Roll(by=2)"
    assert found.provenance["settings"]["displacement"] is None
    assert "sample_field" not in found.arrays and "sample_deformed" in found.arrays
    assert not found.notes  # nothing about folds
    assert (
        found.question == "How far does each layer move when its input is transformed, and when it is shaken by noise?"
    )


def test_partial_sums_of_another_transform_are_not_used(x, model):
    shelf = Shelf()
    with pytest.raises(KeyboardInterrupt):
        flexure.sensitivity(model, x, transform=Roll(1), checkpoint=shelf, progress=stopping(2), batch_size=12)
    found = flexure.sensitivity(model, x, transform=Roll(2), checkpoint=shelf, batch_size=12)
    assert found.to_frame().equals(flexure.sensitivity(model, x, transform=Roll(2), batch_size=12).to_frame())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"transform": Roll(), "cutoff": 4},
            "cutoff belongs to the deformation that transform= replaces; got cutoff=4",
        ),
        ({"transform": Roll(), "displacement": 2.0}, "displacement belongs to the deformation"),
        ({"transform": Roll(), "fold": "reject"}, "fold belongs to the deformation"),
        ({"transform": Roll}, "transform must be an object with clean(x) and a call (x, index, *, seed, draw)"),
        ({"transform": "roll"}, "such as Diffeomorphism(cutoff=5), or 'images'; got 'roll'"),
        ({"noise": "rectifed"}, "no noise 'rectifed'. Did you mean 'rectified'?"),
        ({"channels": "average"}, "no channels 'average'"),
    ],
)
def test_wrong_options_are_refused_in_words(x, model, options, words):
    with pytest.raises(ArgumentError) as caught:
        flexure.sensitivity(model, x, **options)
    assert words in str(caught.value)


# Rectified noise


def test_rectified_noise_has_half_the_mean_square():
    like, magnitude = torch.zeros(400, 1, 6, 5, dtype=torch.float64), 3.0
    noise = rectified(like, torch.arange(400), seed=0, magnitude=magnitude).flatten(1)
    squares = noise.square().sum(1)
    assert (noise >= 0).all() and 0.4 < float((noise == 0).double().mean()) < 0.6
    assert abs(float(squares.mean()) - magnitude**2 / 2) <= 4 * float(squares.std()) / 20
    s = magnitude / math.sqrt(30)
    assert abs(float(noise.mean()) - s / math.sqrt(2 * math.pi)) <= 4 * float(noise.mean(1).std()) / 20


def test_the_identity_moves_by_half_as_much_under_rectified_noise(x):
    found = row(flexure.sensitivity(nn.Identity(), x, noise="rectified", draws=8, dtype="float64"))
    assert abs(found["R"] - 2) <= 4 * found["R_se"]
    fixed = row(flexure.sensitivity(nn.Identity(), x, noise="rectified", match="fixed", sigma=2.0, dtype="float64"))
    spread = float(2 * x.flatten(1).var(0, correction=0).sum())
    assert abs(fixed["G"] - 2.0 / spread) <= 4 * fixed["G_se"]


def test_half_precision_and_a_wrong_number_of_indices():
    like = torch.zeros(2, 1, 4, 4)
    assert rectified(like.bfloat16(), torch.arange(2), seed=0).dtype == torch.bfloat16
    with pytest.raises(ArgumentError, match="2 images need as many indices; got 3"):
        rectified(like, torch.arange(3), seed=0)


# Maps averaged over channels


def test_averaged_maps_are_those_of_a_network_that_averages(x, model):
    found = flexure.sensitivity(model, x, channels="mean", draws=2)
    for name, depth in {"0": 1, "1": 2, "2": 3}.items():
        averaging = flexure.sensitivity(After(model[:depth], lambda y: y.mean(1)), x, draws=2)
        for value in ("D", "D_se", "G", "G_se", "R", "R_se"):
            assert row(found, name)[value] == pytest.approx(row(averaging)[value], rel=1e-10)
    assert row(found, "0")["shape"] == "10×10" and row(found, "0")["features"] == 100
    assert found.notes[-1] == "Maps are averaged over their channels before anything is measured of them."
    plain = flexure.sensitivity(model, x, draws=2).to_frame()
    assert found.to_frame().iloc[3:].reset_index(drop=True).equals(plain.iloc[3:].reset_index(drop=True))


def test_medians_and_blocks_are_averaged_too(x, model):
    options = {"reduction": "coordinate_median", "layers": ["0"], "batch_size": 7}
    found = flexure.sensitivity(model, x, channels="mean", **options)
    averaging = flexure.sensitivity(After(model[:1], lambda y: y.mean(1)), x, reduction="coordinate_median")
    assert row(found, "0")["R"] == pytest.approx(row(averaging)["R"], rel=1e-10)
    blocks = flexure.sensitivity(After(model[:3], nn.Identity()), x, channels="mean", layers="blocks")
    assert list(blocks["shape"]) == ["10×10"]


def test_maps_that_cancel_are_constant_and_not_divided(x):
    class Opposed(nn.Module):
        def forward(self, images):
            return torch.cat([images, 1 - images], 1)

    found = row(flexure.sensitivity(Opposed(), x.float(), channels="mean"))
    assert found["status"] == "constant output" and math.isnan(found["R"])


def test_images_may_bring_their_own_transform():
    images, net = flexure.load("scale-detection-1d", limit=40), nn.Sequential(nn.Flatten(), nn.Linear(128, 3))
    asked = flexure.sensitivity(net, images, transform="images")
    assert asked.to_frame().equals(flexure.sensitivity(net, images, transform=images.translation).to_frame())
    assert asked.provenance["settings"]["transform"] == repr(images.translation)


def test_images_without_a_transform_are_told_so(x, model):
    with pytest.raises(ArgumentError, match=r"transform='images', but .* have no translation of their own"):
        flexure.sensitivity(model, x, transform="images")
