"""What sensitivity can be asked for, how it ends, and what it refuses, in words."""

import math

import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError, DataError, SpecimenError
from tests.probes.sensitivity.specimens import After, assert_same, built, net, row, smooth_images

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
    assert_same(whole, found, 1e-10)
    assert "Out of memory at batch_size=64; went on with 16 rows per forward pass." in found.notes


def test_a_network_that_calls_other_ops_on_other_images_is_refused(x):
    class Fickle(nn.Module):
        def forward(self, images):
            return torch.tanh(images.flatten(1)) if images[0, 0, 0, 0] > x[:, 0, 0, 0].median() else images.flatten(1)

    with pytest.raises(SpecimenError, match=r"nothing to compare|cannot be compared"):
        flexure.sensitivity(Fickle(), x, batch_size=3)


class Sometimes(nn.Module):
    """Calls ``tanh`` only on batches that hold a large value."""

    def forward(self, images):
        flat = images.flatten(1)
        return torch.tanh(flat) * 1.0 if flat.abs().amax() > 0.9 else flat * 1.0


@pytest.mark.parametrize("options", [{"draws": 4}, {"reduction": "norm_median", "layers": ["tanh", "output"]}])
def test_an_op_called_on_some_passes_alone_is_refused(options):
    x = smooth_images(16) * 0.5
    x[:2] += 0.5
    with pytest.raises(SpecimenError, match="'tanh' was called on the first images, but not on all"):
        flexure.sensitivity(Sometimes(), x, batch_size=6, dtype="float64", **options)


def test_an_op_called_on_some_of_the_first_batches_alone_has_a_row_that_says_so():
    x = smooth_images(16) * 0.5
    x[0] += 0.5
    with pytest.raises(SpecimenError, match="depend on the others in its batch"):
        flexure.sensitivity(Sometimes(), x, dtype="float64")

    class Idly(nn.Module):
        def forward(self, images):
            flat = images.flatten(1)
            if flat.abs().amax() > 0.9:
                torch.tanh(flat)
            return flat * 1.0

    found = flexure.sensitivity(Idly(), x, dtype="float64")
    assert row(found, "tanh")["status"] == "not called on every batch"
    assert row(found)["status"] == "measured"


def test_a_network_without_any_number_to_measure_says_so(x):
    class Counts(nn.Module):
        def forward(self, images):
            return images.flatten(1).argmax(1, keepdim=True)

    found = flexure.sensitivity(Counts(), x, layers="output")
    assert row(found)["status"] == "not floating point"


def test_two_images_have_medians_without_a_warning():
    found = row(flexure.sensitivity(nn.Flatten(), torch.rand(2, 3, 8, 8), reduction="norm_median"))
    assert found["n"] == 2


def test_an_image_that_breaks_a_layer_in_one_round_alone_is_named(x):
    class Breaks(nn.Module):
        def forward(self, images):
            low = images.flatten(1).amin(1, keepdim=True) < limit
            return torch.where(low, torch.nan, images.flatten(1))

    clean = x.flatten(1).amin(1)
    limit = float(clean.min()) - 0.03  # reached by some noise, by no clean image
    found = row(flexure.sensitivity(Breaks(), x, precision=0.02, max_draws=16, dtype="float64"))
    assert found["status"].startswith("non-finite at image ")


def test_one_usable_image_is_as_bad_as_one_image(x, model):
    x = x[:3].clone()
    x[:2, 0, 0, 0] = math.nan
    with pytest.raises(DataError, match=r"1 of the 3 images looked at first .* image 0: non-finite pixels"):
        flexure.sensitivity(model, x)


def test_a_single_last_image_joins_the_group_before(x):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(288)).double()
    found = flexure.sensitivity(model, x[:9], batch_norm="batch", group_size=8)
    assert row(found)["n"] == 9


def test_a_seed_is_a_whole_number(x, model):
    with pytest.raises(ArgumentError, match=r"seed must be a whole number; got 0\.5"):
        flexure.sensitivity(model, x, seed=0.5)
