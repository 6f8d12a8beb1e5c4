"""D, G and R: closed forms, invariances, a slow reference, and every way one measurement can be split."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.perturb.diffeomorphism import Diffeomorphism
from tests.probes.sensitivity.specimens import SIDE, After, assert_same, orthogonal, row
from tests.reference import sensitivity as reference

# Closed forms


def test_the_identity_is_as_sensitive_to_deformations_as_to_noise(x):
    found = row(flexure.sensitivity(nn.Identity(), x, dtype="float64"))
    bent = Diffeomorphism()(x, torch.arange(len(x)), seed=0)
    numerator = (bent - x).flatten(1).square().sum(1).mean()
    spread = 2 * x.flatten(1).var(0, correction=0).sum()
    assert found["R"] == pytest.approx(1, abs=1e-12)
    assert found["D"] == pytest.approx(float(numerator / spread), rel=1e-12)
    assert found["R_se"] < 1e-8  # the square root of what rounding leaves of a variance of 0


def test_a_linear_map_moves_by_its_frobenius_norm_under_noise():
    x = torch.randn(400, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = nn.Linear(SIDE * SIDE, 7, bias=False).double()
    found = row(flexure.sensitivity(nn.Sequential(nn.Flatten(), layer), x, match="fixed", sigma=3.0, draws=4))
    images = layer(x.flatten(1)).detach()
    expected = float(layer.weight.detach().square().sum()) * 9 / SIDE**2 / (2 * images.var(0, correction=0).sum())
    assert abs(found["G"] - float(expected)) <= 4 * found["G_se"]


def test_a_constant_is_flagged_and_not_divided(x):
    class Constant(nn.Module):
        def forward(self, images):
            flat = images.flatten(1)
            return torch.cat([flat, torch.ones_like(flat[:, :3])], 1)[:, -3:] * 0.1

    found = row(flexure.sensitivity(Constant(), x))
    assert found["status"] == "constant output"
    assert math.isnan(found["D"]) and math.isnan(found["G"]) and math.isnan(found["R"])
    assert found["n"] == len(x)


def test_a_global_mean_that_does_not_move_is_measured_as_zero():
    x = torch.zeros(10, 1, SIDE, SIDE, dtype=torch.float64) + torch.arange(10.0)[:, None, None, None]
    found = row(flexure.sensitivity(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), x, dtype="float64"))
    assert found["D"] == pytest.approx(0, abs=1e-20)


def test_the_identity_on_cifar10_has_the_published_value(real_data):
    images = flexure.load(f"folder:{real_data / 'cifar10' / 'test'}", limit=2000)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    found = row(flexure.sensitivity(flexure.Specimen(nn.Identity(), normalize=(mean, std)), images))
    assert abs(found["D"] - 0.0427) <= 4 * found["D_se"]
    assert found["D"] == pytest.approx(found["G"], rel=1e-6)
    assert found["R"] == pytest.approx(1, abs=1e-6)


# A slow reference


@pytest.mark.parametrize("same_pairs", [True, False])
@pytest.mark.parametrize("draws", [1, 3])
def test_every_op_agrees_with_loops_over_images_and_pairs(x, model, same_pairs, draws):
    x = x[:12]
    result = flexure.sensitivity(model, x, draws=draws, same_pairs=same_pairs, displacement=1.5, cutoff=4, seed=5)
    stages = {"0": model[:1], "1": model[:2], "2": model[:3], "4": model, "output": model}
    for name, part in stages.items():
        with torch.no_grad():
            expected = reference.sensitivity(
                part, x, draws=draws, same_pairs=same_pairs, displacement=1.5, cutoff=4, seed=5
            )
        found = row(result, name)
        np.testing.assert_allclose([found["D"], found["G"], found["R"]], expected, rtol=1e-9)


@pytest.mark.parametrize("reduction", ["coordinate_median", "norm_median"])
def test_medians_agree_with_loops(x, model, reduction):
    found = row(flexure.sensitivity(model, x, reduction=reduction))
    with torch.no_grad():
        expected = reference.medians(model, x, by_coordinate=reduction == "coordinate_median")
    np.testing.assert_allclose([found["D"], found["G"]], expected, rtol=1e-9)
    assert 0 < found["R_se"] < found["R"]


def test_rows_stand_in_order_of_emission_with_the_output_last(x, model):
    result = flexure.sensitivity(model, x)
    assert list(result["layer"]) == ["0", "1", "2", "3", "4", "output"]
    assert list(result["kind"])[:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert list(result.to_frame())[:10] == ["layer", "kind", "D", "D_se", "G", "G_se", "R", "R_se", "n", "status"]


# Invariances


@pytest.mark.parametrize(
    "head",
    [lambda y: 3 * y - 7, orthogonal, lambda y: y.flip(1), lambda y: torch.cat([y, y], 1)],
    ids=["affine", "rotation", "permutation", "duplication"],
)
def test_means_do_not_depend_on_the_features_scale_frame_order_or_multiplicity(x, model, head):
    plain, changed = row(flexure.sensitivity(model, x)), row(flexure.sensitivity(After(model, head), x))
    for name in ("D", "G", "R", "R_se"):
        assert changed[name] == pytest.approx(plain[name], rel=1e-9)


def test_coordinate_medians_depend_on_the_features_frame(x, model):
    plain = row(flexure.sensitivity(model, x, reduction="coordinate_median"))
    turned = row(flexure.sensitivity(After(model, orthogonal), x, reduction="coordinate_median"))
    assert abs(turned["D"] / plain["D"] - 1) > 0.01


def test_a_large_common_offset_does_not_spoil_float32(x, model):
    shifted = After(model.float(), lambda y: 1e-3 * y + 5)
    exact = row(flexure.sensitivity(shifted, x.float(), dtype="float64"))
    found = row(flexure.sensitivity(shifted, x.float()))
    assert found["D"] == pytest.approx(exact["D"], rel=1e-2)


# One measurement, split every which way


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64, 1000])
def test_the_batch_size_changes_nothing_in_float64(x, model, batch_size):
    assert_same(
        flexure.sensitivity(model, x, draws=2), flexure.sensitivity(model, x, draws=2, batch_size=batch_size), 1e-10
    )


def test_the_batch_size_changes_nothing_in_float32_to_a_part_in_a_hundred_thousand(x, model):
    one, other = (flexure.sensitivity(model.float(), x.float(), batch_size=size) for size in (9, 64))
    assert_same(one, other, 1e-5)


def test_single_and_double_precision_agree(x, model):
    one, other = (flexure.sensitivity(model, x, dtype=dtype) for dtype in ("float32", "float64"))
    assert_same(one, other, 1e-4)
    np.testing.assert_allclose(one["R"], other["R"], rtol=1e-5)


def test_draws_that_do_not_fit_run_the_clean_images_again_and_are_counted(x, model):
    whole = flexure.sensitivity(model, x, draws=5)
    pieces = flexure.sensitivity(model, x, draws=5, batch_size=5)
    assert_same(whole, pieces, 1e-10)
    assert whole.provenance["passes"] == {"rows": 60 * 11, "extra_clean": 0}
    assert pieces.provenance["passes"] == {"rows": 60 * 13, "extra_clean": 120}


def test_a_batch_as_part_of_the_definition_does_not_depend_on_the_batch_size(x, model):
    options = {"batch_norm": "batch", "match": "batch_rms", "group_size": 20}
    one, other = (flexure.sensitivity(model, x, batch_size=size, draws=2, **options) for size in (1, 500))
    assert_same(one, other, 1e-9)
    assert "Groups of 20 images, in the images' order, share what belongs to a batch." in one.notes


def test_an_image_keeps_its_deformation_in_any_sample_of_the_set(x, model):
    class Some(torch.utils.data.Dataset):
        def __init__(self, keep):
            self.keep = keep

        def __len__(self):
            return len(self.keep)

        def __getitem__(self, i):
            return x[self.keep[i]]

    whole = flexure.sensitivity(nn.Identity(), x, dtype="float64")
    first = flexure.sensitivity(nn.Identity(), Some(range(30)))
    assert np.array_equal(whole["sample_index"][:1], first["sample_index"][:1])
    np.testing.assert_allclose(whole["sample_deformed"][0], first["sample_deformed"][0], atol=1e-6)


def test_other_seeds_draw_other_deformations(x, model):
    assert row(flexure.sensitivity(model, x, seed=0))["D"] != row(flexure.sensitivity(model, x, seed=1))["D"]
