"""D, G and R: closed forms, invariances, a slow reference, and every way one measurement can be split."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.perturb.diffeomorphism import Diffeomorphism
from tests.reference import sensitivity as reference

SIDE = 12


def smooth_images(n, channels=2, height=SIDE, width=SIDE, seed=0, dtype=torch.float64):
    """Images whose neighbouring pixels belong together, in [0, 1]."""
    coarse = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)


def net(seed=0, channels=2, features=6):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(features)
    ).double()


def built(model, x):
    model(x[:2])
    return model.eval()


@pytest.fixture
def x():
    return smooth_images(60)


@pytest.fixture
def model(x):
    return built(net(), x)


def row(result, layer="output"):
    return result.to_frame().set_index("layer").loc[layer]


def same(left, right, tolerance):
    columns = ["D", "D_se", "G", "G_se", "R", "R_se"]
    one, other = left.to_frame()[columns].to_numpy(), right.to_frame()[columns].to_numpy()
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=0)


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


class After(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images):
        return self.head(self.body(images))


def orthogonal(y):
    q, _ = torch.linalg.qr(torch.randn(y.shape[1], y.shape[1], generator=torch.Generator().manual_seed(3)).double())
    return y @ q


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
    same(flexure.sensitivity(model, x, draws=2), flexure.sensitivity(model, x, draws=2, batch_size=batch_size), 1e-10)


def test_the_batch_size_changes_nothing_in_float32_to_a_part_in_a_hundred_thousand(x, model):
    one, other = (flexure.sensitivity(model.float(), x.float(), batch_size=size) for size in (9, 64))
    same(one, other, 1e-5)


def test_single_and_double_precision_agree(x, model):
    one, other = (flexure.sensitivity(model, x, dtype=dtype) for dtype in ("float32", "float64"))
    same(one, other, 1e-4)
    np.testing.assert_allclose(one["R"], other["R"], rtol=1e-5)


def test_draws_that_do_not_fit_run_the_clean_images_again_and_are_counted(x, model):
    whole = flexure.sensitivity(model, x, draws=5)
    pieces = flexure.sensitivity(model, x, draws=5, batch_size=5)
    same(whole, pieces, 1e-10)
    assert whole.provenance["passes"] == {"rows": 60 * 11, "extra_clean": 0}
    assert pieces.provenance["passes"] == {"rows": 60 * 13, "extra_clean": 120}


def test_a_batch_as_part_of_the_definition_does_not_depend_on_the_batch_size(x, model):
    options = {"batch_norm": "batch", "match": "batch_rms", "group_size": 20}
    one, other = (flexure.sensitivity(model, x, batch_size=size, draws=2, **options) for size in (1, 500))
    same(one, other, 1e-9)
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


# Options


def test_pixel_space_and_normalized_space_differ_by_the_noise_alone(x, model):
    specimen = flexure.Specimen(model, normalize=((0.5, 0.4), (0.1, 0.9)))
    normalized, pixel = (row(flexure.sensitivity(specimen, x, space=space)) for space in ("normalized", "pixel"))
    assert pixel["D"] == pytest.approx(normalized["D"], rel=1e-9)
    assert abs(pixel["G"] / normalized["G"] - 1) > 0.05


def test_images_need_not_be_square():
    x = smooth_images(40, height=10, width=17)
    found = flexure.sensitivity(nn.Identity(), x, dtype="float64")
    assert row(found)["R"] == pytest.approx(1, abs=1e-12)
    assert found["sample_field"].shape == (6, 2, 10, 17)


@pytest.mark.parametrize("interpolation", ["gaussian", "nearest"])
def test_other_interpolations_compare_with_their_own_clean_image(x, interpolation):
    found = row(flexure.sensitivity(nn.Identity(), x, interpolation=interpolation, dtype="float64"))
    assert found["R"] == pytest.approx(1, abs=1e-12)


def test_layers_are_chosen_by_glob_and_by_kind(x, model):
    assert list(flexure.sensitivity(model, x, layers=["Conv2d", "4"])["layer"]) == ["0", "4", "output"]
    with pytest.raises(ArgumentError, match=r"no layer and no kind matches 'Conv3d'. Did you mean 'Conv2d'\?"):
        flexure.sensitivity(model, x, layers="Conv3d")


def test_initialized_networks_stand_beside_as_columns(x, model):
    others = [built(net(seed), x) for seed in (1, 2)]
    result = flexure.sensitivity(model, x, initialized=others)
    singles = [row(flexure.sensitivity(other, x)) for other in others]
    expected = math.sqrt(singles[0]["R"] * singles[1]["R"])
    found = row(result)
    assert found["R_init"] == pytest.approx(expected, rel=1e-12)
    half = abs(math.log(singles[0]["R"] / singles[1]["R"])) / 2
    assert found["R_init_se"] == pytest.approx(expected * half, rel=1e-9)
    assert len(result) == len(flexure.sensitivity(model, x))


def test_one_initialized_network_has_its_error_over_images(x, model):
    other = built(net(1), x)
    found, alone = row(flexure.sensitivity(model, x, initialized=other)), row(flexure.sensitivity(other, x))
    assert found["R_init"] == pytest.approx(alone["R"], rel=1e-12)
    assert found["R_init_se"] == alone["R_se"]


def test_initialized_networks_are_not_the_random_network_itself(x):
    specimen = flexure.resolve("lenet5", seed=0)
    found = row(flexure.sensitivity(specimen, torch.rand(8, 1, 28, 28), initialized=1, seed=0))
    assert found["R_init"] != found["R"]


def test_networks_that_cannot_be_initialized_say_why(x):
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, images):
            return self.weight * images.flatten(1)

    found = row(flexure.sensitivity(Stubborn(), x, initialized=1))
    assert math.isnan(found["R_init"])
    assert "reset_parameters" in found["status_init"]


def test_medians_need_names_or_memory(x, model):
    result = flexure.sensitivity(model, x, reduction="norm_median")
    assert row(result, "0")["status"] == "name this layer in layers= to measure a median"
    with pytest.raises(ArgumentError, match=r"389,760 bytes for 4 layers and 60 images .* over memory_limit=1,000"):
        flexure.sensitivity(model, x, reduction="norm_median", layers=["0", "1", "4"], memory_limit=1000)


# Precision


def test_draws_go_on_until_every_layer_is_precise_enough():
    x = smooth_images(400)
    model = built(net(), x)
    loose = flexure.sensitivity(model, x, precision=0.2)
    assert (loose["draws"] == 2).all()
    tight = row(loose)["R_se"] / row(loose)["R"] * 0.8
    found = flexure.sensitivity(model, x, precision=tight, max_draws=64)
    measured = found.to_frame()
    reached = measured["R_se"] <= tight * measured["R"]
    assert (measured["status"][reached] == "measured").all()
    assert measured["status"][~reached].str.startswith("precision not").all()
    assert measured["draws"].iloc[0] > 2


def test_where_more_draws_cannot_help_it_says_so(x, model):
    found = flexure.sensitivity(model, x, precision=0.001, max_draws=1000)
    assert row(found)["draws"] < 1000
    assert "precision not reachable with 60 images (floor " in row(found)["status"]


def test_rounds_end_at_max_draws(x, model):
    found = flexure.sensitivity(model, x[:20], precision=0.0101, max_draws=6, layers=["0"])
    assert (found["draws"] <= 6).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"draws": 0}, "draws must be a whole number of at least 1; got 0"),
        ({"cutoff": 1}, "cutoff"),
        ({"displacement": -1}, "displacement must be"),
        ({"displacement": 1.5, "temperature": 1e-3}, "either displacement or temperature"),
        ({"interpolation": "linear"}, "Did you mean 'bilinear'"),
        ({"match": "fixed"}, "match='fixed' and sigma go together"),
        ({"sigma": 1.0}, "match='fixed' and sigma go together"),
        ({"space": "pixels"}, "Did you mean 'pixel'"),
        ({"reduction": "median"}, "norm_median"),
        ({"batch_norm": "eval"}, "Valid: batch, running"),
        ({"precision": 2.0}, r"must lie in \(0, 1\)"),
        ({"precision": 0.1, "reduction": "norm_median"}, "goes with reduction='mean'"),
        ({"initialized": -1}, "at least 0; got -1"),
        ({"device": "gpu"}, "Try 'auto' or 'cpu'"),
        ({"dtype": "float31"}, "Did you mean 'float32'"),
    ],
)
def test_wrong_options_are_refused_in_words(x, model, options, words):
    with pytest.raises(ArgumentError, match=words):
        flexure.sensitivity(model, x, **options)


# Bad data and bad networks


def test_one_image_is_not_enough(model, x):
    with pytest.raises(DataError, match="compare images with one another, so give at least 2"):
        flexure.sensitivity(model, x[:1])


def test_images_with_nan_are_left_out_named_and_counted(x, model):
    x = x.clone()
    x[17, 0, 3, 3] = math.nan
    result = flexure.sensitivity(model, x)
    assert row(result)["n"] == 59
    assert "1 of 60 images could not be used and are left out (image 17: non-finite pixels)." in result.notes
    keep = torch.arange(60) != 17
    assert row(result)["D"] != row(flexure.sensitivity(model, x[keep]))["D"]


def test_images_outside_the_bounds_are_refused_with_a_hint(x, model):
    with pytest.raises(DataError, match=r"span \[-0\.\d+, 1\.\d+\], outside bounds \(0, 1\). Already normalized\?"):
        flexure.sensitivity(flexure.Specimen(model, bounds=(0, 1)), 2 * x - 0.5)


def test_a_layer_that_emits_nan_says_at_which_image_and_the_others_are_measured(x, model):
    class Breaks(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.after = model, nn.Identity()

        def forward(self, images):
            y = self.before(images)
            odd = (images[:, 0, 0, 0] == x[33, 0, 0, 0])[:, None]
            return self.after(torch.where(odd, torch.nan, y))

    result = flexure.sensitivity(Breaks(), x)
    assert row(result, "before.4")["status"] == "measured"
    assert row(result, "after")["status"] == "non-finite at image 33"
    assert math.isnan(row(result, "after")["R"])
    assert row(result, "after")["n"] == 59


def test_out_of_memory_halves_the_batch_and_says_so(x, model):
    class Narrow(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model

        def forward(self, images):
            if len(images) > 20:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return self.body(images)

    whole = flexure.sensitivity(After(model, nn.Identity()), x, layers=["output"])
    found = flexure.sensitivity(Narrow(), x, layers=["output"], batch_size=64)
    same(whole, found, 1e-10)
    assert "Out of memory at batch_size=64; went on with 16 rows per forward pass." in found.notes


def test_a_network_that_calls_other_ops_on_other_images_is_refused(x):
    class Fickle(nn.Module):
        def forward(self, images):
            return torch.tanh(images.flatten(1)) if images[0, 0, 0, 0] > x[:, 0, 0, 0].median() else images.flatten(1)

    with pytest.raises(SpecimenError, match=r"nothing to compare|cannot be compared"):
        flexure.sensitivity(Fickle(), x, batch_size=3)
