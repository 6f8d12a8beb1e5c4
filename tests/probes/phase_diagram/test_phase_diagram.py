"""D, G, R and folds over the plane of temperature and cut-off: closed forms, and what each point gives by itself."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.formulas import maximum_entropy as law
from flexure.perturb.diffeomorphism import Diffeomorphism
from flexure.probes import PROBES

NUMBERS = ["D", "D_se", "G", "G_se", "R", "R_se"]
FOLDS = {3: (0.0, 0.04, 0.35, 0.77, 0.99), 5: (0.0, 0.03, 0.30, 0.86, 1.0), 15: (0.0, 0.0, 0.06, 0.92, 1.0)}


def smooth(n=24, channels=2, height=20, width=20):
    coarse = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)


def net(channels=2, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(3)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 5)).double().eval()


def numbers(result, columns=NUMBERS):
    return result.to_frame()[columns].to_numpy(float)


# The plane


def test_rows_are_the_points_by_cut_off_and_temperature_with_what_the_formulas_say():
    found = flexure.phase_diagram(net(), smooth(), temperatures=5, cutoffs=(5, 3)).to_frame()
    assert list(found["cutoff"]) == [3] * 5 + [5] * 5
    assert set(found["layer"]) == {"output"} and set(found["n"]) == {24}
    for cutoff, part in found.groupby("cutoff"):
        low, high = law.temperature_range(cutoff, 20)
        np.testing.assert_allclose(part["temperature"].iloc[[0, -1]], [low / 15, 2 * high], rtol=1e-12)
        np.testing.assert_allclose(np.diff(np.log(part["temperature"]), 2), 0, atol=1e-12)
        np.testing.assert_array_equal(part["in_band"], part["temperature"].between(low, high))
        back = [law.temperature(d, cutoff, 20) for d in part["displacement"]]
        np.testing.assert_allclose(back, part["temperature"], rtol=1e-12)
        exact = [law.rms_displacement(t, cutoff, 20) for t in part["temperature"]]
        np.testing.assert_array_equal(part["rms_displacement"], exact)
        assert 0 < part["in_band"].sum() < 5


def test_the_band_is_given_over_all_whole_cut_offs():
    found = flexure.phase_diagram(net(), smooth(), temperatures=2, cutoffs=(2, 9))
    assert found["curve_cutoff"][0] == 2 and found["curve_cutoff"][-1] > 9
    ends = [law.temperature_range(int(c), 20) for c in found["curve_cutoff"]]
    np.testing.assert_array_equal(np.stack([found["curve_T1"], found["curve_T2"]], 1), ends)
    np.testing.assert_allclose([law.nominal_displacement(low, 4, 20) for low, _ in ends[2:3]], 0.5, rtol=1e-12)


def test_temperatures_may_be_given_themselves_and_are_sorted():
    found = flexure.phase_diagram(net(), smooth(), temperatures=[2e-3, 1e-3], cutoffs=[4]).to_frame()
    assert list(found["temperature"]) == [1e-3, 2e-3]


# Folds


@pytest.mark.parametrize("cutoff", FOLDS)
def test_as_many_fields_fold_as_were_once_counted(cutoff):
    limit = law.temperature_range(cutoff, 32)[1]
    temperatures = [limit * ratio for ratio in (0.25, 0.5, 1, 2, 4)]
    x = torch.rand(300, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    found = flexure.phase_diagram(nn.Identity(), x, temperatures=temperatures, cutoffs=[cutoff]).to_frame()
    for share, error, expected in zip(found["folding"], found["folding_se"], FOLDS[cutoff], strict=True):
        least = math.sqrt(0.01 * 0.99 / 300)  # shares printed as 0 or 1 are rounded
        spread = max(math.sqrt(expected * (1 - expected) / 300), least)
        assert abs(share - expected) <= 4 * math.hypot(max(error, least), spread)
        assert error == pytest.approx(math.sqrt(share * (1 - share) / 300))


def test_nearly_all_fields_of_cut_off_15_fold_at_one_pixel_and_none_of_cut_off_3():
    x = torch.rand(500, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    for cutoff, expected in ((3, 0.0), (15, 0.97)):
        at = [law.temperature(1.0, cutoff, 32)]
        (row,) = flexure.phase_diagram(nn.Identity(), x, temperatures=at, cutoffs=[cutoff]).to_frame().itertuples()
        assert row.displacement == pytest.approx(1)
        assert abs(row.folding - expected) <= 4 * math.hypot(row.folding_se, math.sqrt(0.97 * 0.03 / 500))


def test_the_fields_that_fold_are_those_that_a_search_at_every_temperature_finds():
    x = smooth(30, 1, 16, 22)
    found = flexure.phase_diagram(nn.Flatten(), x, temperatures=6, cutoffs=(3, 6), draws=2, seed=4).to_frame()
    index = torch.arange(30)
    for row in found.itertuples():
        deform = Diffeomorphism(temperature=row.temperature, cutoff=row.cutoff)
        folded = [deform.folds(index, 16, 22, seed=4, draw=draw).folded.sum() for draw in (0, 1)]
        assert row.folding == pytest.approx(float(sum(folded)) / 60)
    assert 0 < found["folding"].max() <= 1 and found["folding"].min() == 0


# One point by itself


@pytest.mark.parametrize("interpolation", ["bilinear", "gaussian", "nearest"])
@pytest.mark.parametrize("space", ["normalized", "pixel"])
def test_every_point_is_what_sensitivity_measures_there(interpolation, space):
    specimen = flexure.Specimen(net(), normalize=((0.5, 0.4), (0.2, 0.3)))
    options = {"interpolation": interpolation, "space": space, "draws": 2, "same_pairs": False, "seed": 3}
    found = flexure.phase_diagram(specimen, smooth(), temperatures=3, cutoffs=(3, 6), **options)
    for row in found.to_frame().itertuples():
        at = {"temperature": row.temperature, "cutoff": row.cutoff}
        alone = flexure.sensitivity(specimen, smooth(), layers="Flatten", **at, **options).to_frame().iloc[-1]
        expected = [alone[name] for name in NUMBERS]
        np.testing.assert_allclose([getattr(row, name) for name in NUMBERS], expected, rtol=1e-9, atol=1e-300)
        assert row.status == alone["status"] and row.n == alone["n"]


def test_the_identity_is_as_sensitive_to_deformations_as_to_noise_at_every_point():
    found = flexure.phase_diagram(nn.Identity(), smooth(), temperatures=6, cutoffs=(3, 7), dtype="float64")
    np.testing.assert_allclose(found["R"], 1, rtol=1e-12)
    assert found["R_se"].max() < 1e-7
    assert (np.diff(found["D"][:6]) > 0).all()


def test_distances_are_taken_from_the_mean_of_all_images_however_many():
    x = smooth(150) + torch.linspace(0, 3, 150, dtype=torch.float64)[:, None, None, None] ** 4
    at = law.temperature(1.0, 3, 20)
    found = flexure.phase_diagram(nn.Identity(), x, temperatures=[at], cutoffs=[3], dtype="float64")
    bent = Diffeomorphism()(x, torch.arange(150), seed=0)
    spread = 2 * x.flatten(1).var(0, correction=0).sum()
    assert found["D"][0] == pytest.approx(float((bent - x).flatten(1).square().sum(1).mean() / spread), rel=1e-10)


def test_a_linear_ramp_moves_by_the_mean_square_of_the_displacement():
    ramp = torch.arange(32, dtype=torch.float64).expand(200, 1, 32, 32) + torch.rand(200, 1, 1, 1).double()
    at = law.temperature(1.0, 3, 32)
    found = flexure.phase_diagram(nn.Flatten(), ramp, temperatures=[at], cutoffs=[3], draws=10)
    numerator, error = (
        found[name][0] * 2 * float(ramp.flatten(1).var(0, correction=0).sum()) for name in ("D", "D_se")
    )
    assert abs(numerator - 341.1) <= 4 * error


# Splitting the work


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize("shape", [(20, 20), (17, 26)])
def test_the_numbers_do_not_depend_on_the_batch_size(batch_size, shape):
    x = smooth(13, 2, *shape)
    options = {"temperatures": 3, "cutoffs": (3, 5), "draws": 2}
    expected = flexure.phase_diagram(net(), x, batch_size=20, **options)
    found = flexure.phase_diagram(net(), x, batch_size=batch_size, **options)
    columns = [*NUMBERS, "folding", "n"]
    np.testing.assert_allclose(numbers(found, columns), numbers(expected, columns), rtol=1e-10)
    assert found.provenance["passes"] == expected.provenance["passes"] == {"rows": 13 * (1 + 2 * 2 * 6)}


def test_no_forward_has_more_rows_than_the_batch_size():
    seen = []

    class Counting(nn.Module):
        def forward(self, images):
            seen.append(len(images))
            return images.flatten(1)

    flexure.phase_diagram(Counting(), smooth(9), temperatures=4, cutoffs=(3, 4), batch_size=12)
    assert max(seen) == 12
    assert seen[-14:] == [6, *[12] * 8, 3, *[12] * 4]  # three images, two points at a time


def test_float32_agrees_with_float64():
    options = {"temperatures": 4, "cutoffs": (3, 5)}
    single = flexure.phase_diagram(net(), smooth(), dtype="float32", **options)
    double = flexure.phase_diagram(net(), smooth(), **options)
    moved = double["D"] > 1e-4
    np.testing.assert_allclose(single["D"][moved], double["D"][moved], rtol=1e-3)
    np.testing.assert_array_equal(single["folding"], double["folding"])


def test_the_seed_decides_fields_and_noise():
    one, again, other = (
        flexure.phase_diagram(net(), smooth(), temperatures=3, cutoffs=(3,), seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(numbers(one), numbers(again))
    assert (one["D"] != other["D"]).all() and (one["G"] != other["G"]).all()


# What cannot be measured


def test_a_constant_output_is_flagged_and_its_folds_are_still_counted():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.ones_like(images.flatten(1)[:, :3]) * 0.1

    found = flexure.phase_diagram(Constant(), smooth(), temperatures=4, cutoffs=(3,)).to_frame()
    assert set(found["status"]) == {"constant output"}
    assert found[NUMBERS].isna().all(axis=None)
    assert found["folding"].iloc[-1] > 0 and set(found["n"]) == {24}


def test_an_output_that_only_rounding_changes_is_constant():
    one = nn.Sequential(nn.Flatten(), nn.Softmax(1), nn.AvgPool1d(800), nn.Flatten())
    found = flexure.phase_diagram(one, smooth(), temperatures=3, cutoffs=(3,)).to_frame()
    assert set(found["status"]) == {"constant output"} and found["D"].isna().all()


def test_an_output_that_is_no_number_says_so_at_its_points_alone():
    class Breaks(nn.Module):
        def forward(self, images):
            flat = images.flatten(1)
            return torch.where((flat < 0).any(1, keepdim=True), torch.nan, flat)  # noise reaches below zero

    x = 0.2 + smooth()
    found = flexure.phase_diagram(Breaks(), x, temperatures=6, cutoffs=(3,)).to_frame()
    bad = found["status"].str.startswith("non-finite at image")
    assert bad.iloc[-1] and not bad.iloc[1]
    assert found.loc[bad, NUMBERS].isna().all(axis=None) and found.loc[~bad, "D"].notna().all()
    assert (found.loc[bad, "n"] < 24).all()


def test_an_output_of_integers_has_a_reason_and_no_numbers():
    class Classes(nn.Module):
        def forward(self, images):
            return images.flatten(1).argmax(1)

    found = flexure.phase_diagram(Classes(), smooth(), temperatures=2, cutoffs=(3,)).to_frame()
    assert set(found["status"]) == {"not floating point"} and set(found["n"]) == {0}
    assert found[[*NUMBERS, "folding"]].isna().all(axis=None)


def test_images_that_cannot_be_used_are_left_out_and_named():
    x = smooth()
    x[5, 0, 0, 0] = torch.nan
    found = flexure.phase_diagram(net(), x, temperatures=2, cutoffs=(3,), batch_size=6)
    assert set(found["n"]) == {23}
    assert any("1 of 24 images could not be used" in note and "image 5" in note for note in found.notes)
    assert found.provenance["passes"] == {"rows": 23 * 5}


def test_a_network_that_draws_random_numbers_is_refused():
    noisy = nn.Sequential(nn.Flatten(), nn.Linear(800, 4).double())
    noisy.forward = lambda images: noisy[1](noisy[0](images)) + torch.rand(())
    with pytest.raises(SpecimenError, match="two clean passes"):
        flexure.phase_diagram(noisy, smooth(), temperatures=2, cutoffs=(3,))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutoffs": (1, 3)}, r"cutoff must be 2 or more; got 1.*which is 0 at cutoff 1"),
        ({"cutoffs": (3.5,)}, "cutoff must be a whole number"),
        ({"cutoffs": ()}, "cutoffs must be one or more different values"),
        ({"cutoffs": (3, 3)}, "cutoffs must be one or more different values"),
        ({"temperatures": "hot"}, "temperatures must be finite and above 0; got 'hot'"),
        (
            {"temperatures": 1},
            "temperatures must be a whole number of at least 2, or the temperatures themselves; got 1",
        ),
        ({"temperatures": (0.1, 0.0)}, "temperatures must be finite and above 0; got 0.0"),
        ({"temperatures": (math.inf,)}, "temperatures must be finite and above 0; got inf"),
        ({"temperatures": (0.1, 0.1)}, "temperatures must be one or more different values"),
        ({"draws": 0}, "draws must be a whole number of at least 1; got 0"),
        ({"interpolation": "bilinar"}, "no interpolation 'bilinar'. Did you mean 'bilinear'"),
        ({"space": "pixels"}, "no space 'pixels'. Did you mean 'pixel'"),
    ],
)
def test_a_wrong_option_is_refused_in_words_before_anything_is_read(options, words):
    with pytest.raises(ArgumentError, match=rf"phase_diagram: .*{words}"):
        flexure.phase_diagram(None, None, **options)
    with pytest.raises(ArgumentError, match=words):
        PROBES["phase_diagram"].refuse(options)


def test_a_cut_off_too_high_for_the_images_is_refused_with_what_would_fit():
    with pytest.raises(ArgumentError, match=r"cutoffs=\(3, 15\) do not all fit.*need 17x17 pixels; the image has 8x8"):
        flexure.phase_diagram(nn.Flatten(), torch.rand(5, 1, 8, 8), cutoffs=(3, 15))


def test_one_image_is_not_enough():
    with pytest.raises(DataError, match="give at least 2"):
        flexure.phase_diagram(nn.Flatten(), torch.rand(1, 1, 8, 8), cutoffs=(3,))


# The rest of the contract


def test_it_runs_only_where_it_is_asked_for_and_knows_its_cost():
    probe = PROBES["phase_diagram"]
    assert probe.opt_in
    assert probe.cost({}, 10) == (181, 181)
    assert probe.cost({"temperatures": [1e-3], "cutoffs": [3, 4], "draws": 3}, 10) == (13, 13)


def test_one_image_is_shown_across_the_plane_as_it_was_measured():
    specimen = flexure.Specimen(net(), normalize=((0.5, 0.4), (0.2, 0.3)))
    x = smooth().float()
    found = flexure.phase_diagram(specimen, x, temperatures=9, cutoffs=(3, 6))
    assert found["sample_deformed"].shape == (2, 5, 2, 20, 20) and found["sample_field"].shape == (2, 5, 2, 20, 20)
    np.testing.assert_allclose(found["sample_image"], x[0], atol=1e-6)
    assert list(found["sample_index"]) == [0]
    for row, cutoff in enumerate((3, 6)):
        for column in range(5):
            temperature = found["sample_temperature"][row, column]
            deform = Diffeomorphism(temperature=temperature, cutoff=cutoff)
            fields = deform.fields(torch.tensor([0]), 20, 20, seed=0)
            np.testing.assert_allclose(found["sample_field"][row, column], fields[0], atol=1e-5)
            expected = deform(x[:1], torch.tensor([0]), seed=0)[0]
            np.testing.assert_allclose(found["sample_deformed"][row, column], expected, atol=1e-4)
            folded = bool(deform.folds(torch.tensor([0]), 20, 20, seed=0).folded)
            assert bool(found["sample_folded"][row, column]) is folded


def test_the_result_comes_back_from_disk(tmp_path):
    found = flexure.phase_diagram(net(), smooth(), temperatures=2, cutoffs=(3,))
    again = flexure.Result.load(found.save(tmp_path))
    np.testing.assert_array_equal(numbers(again), numbers(found))
    np.testing.assert_array_equal(again["sample_folded"], found["sample_folded"])
    assert again.provenance["settings"]["cutoffs"] == [3]


def test_examine_asks_it_by_name(tmp_path):
    options = {"phase_diagram": {"temperatures": 2, "cutoffs": [3]}}
    run = flexure.examine(
        net(), smooth(), probes=["phase_diagram"], options=options, dtype="float64", out=tmp_path / "r"
    )
    direct = flexure.phase_diagram(net(), smooth(), temperatures=2, cutoffs=(3,))
    np.testing.assert_array_equal(numbers(run["phase_diagram"]), numbers(direct))


def test_a_trained_network_on_real_images_is_less_sensitive_to_deformations_within_the_band(
    real_data, trained_resnet20
):
    specimen = flexure.resolve("resnet20", weights=trained_resnet20)
    images = flexure.load(f"folder:{real_data / 'cifar10' / 'test'}", limit=60)
    at = law.temperature(1.0, 3, 32)
    (row,) = flexure.phase_diagram(specimen, images, temperatures=[at], cutoffs=(3,)).to_frame().itertuples()
    alone = flexure.sensitivity(specimen, images, temperature=at, cutoff=3, layers="linear").to_frame().iloc[-1]
    assert abs(row.R / alone["R"] - 1) < 1e-4 and row.R < 0.5 and row.folding == 0


def test_a_single_temperature_and_a_single_cutoff_need_no_list():
    x = torch.rand(4, 1, 16, 16)
    found = flexure.phase_diagram(nn.Identity(), x, temperatures=1e-3, cutoffs=3).to_frame()
    listed = flexure.phase_diagram(nn.Identity(), x, temperatures=[1e-3], cutoffs=[3]).to_frame()
    assert found.equals(listed)
