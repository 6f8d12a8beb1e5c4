"""Sensitivity with channels shuffled: equal to that of a copy permuted by hand, and never a change to the network."""

import math

import gauge
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import flexure
from flexure.errors import ArgumentError
from flexure.probes import PROBES
from tests.probes.interrupted import Shelf, stopping
from tests.probes.sensitivity.specimens import built, row, smooth_images
from tests.reference import sensitivity as reference

VALUES = ["D", "D_se", "G", "G_se", "R", "R_se"]
SHUFFLED = ["D_shuffled", "D_shuffled_se", "G_shuffled", "G_shuffled_se", "R_shuffled", "R_shuffled_se"]
LAYERS = ["conv1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2"]


@pytest.fixture
def x():
    return smooth_images(40, channels=3)


@pytest.fixture
def model():
    return gauge.seeded(gauge.ResidualNet).double()


def shuffled(model, x, **options):
    return flexure.sensitivity(model, x, shuffle="input", **{"shuffle_draws": 1, **options})


def assert_agree(result, expected, tolerance=1e-10):
    found = result.to_frame()[SHUFFLED].to_numpy()
    np.testing.assert_allclose(found, expected.to_frame()[VALUES].to_numpy(), rtol=tolerance, atol=0)


# Against a copy permuted by hand


@pytest.mark.parametrize(
    "how", [{}, {"scope": "per_output"}, {"skip_first": True}, {"scope": "per_output", "skip_first": True}]
)
def test_shuffled_columns_are_those_of_a_copy_permuted_by_hand(x, model, how):
    result = shuffled(model, x, seed=3, **{f"shuffle_{name}": value for name, value in how.items()})
    assert_agree(result, flexure.sensitivity(reference.shuffled(model, LAYERS, seed=3, **how), x, seed=3))
    assert (result["status_shuffled"] == "measured").all()


@pytest.mark.parametrize(
    "options",
    [
        {"draws": 3},
        {"precision": 0.2, "max_draws": 8},
        {"reduction": "norm_median", "layers": ["layer1.*"]},
        {"batch_norm": "batch", "match": "batch_rms", "group_size": 16},
        {"layers": "blocks"},
        {"channels": "mean"},
        {"space": "pixel", "noise": "rectified"},
    ],
    ids=str,
)
def test_the_same_with_other_options(x, model, options):
    options = {"seed": 3, **options}
    assert_agree(
        shuffled(model, x, **options), flexure.sensitivity(reference.shuffled(model, LAYERS, seed=3), x, **options)
    )


def test_batch_norms_may_have_statistics_of_the_shuffled_network(x, model):
    result = shuffled(model, x, shuffle_batch_norm="reestimate")
    by_hand = reference.reestimated(reference.shuffled(model, LAYERS), x)
    assert_agree(result, flexure.sensitivity(by_hand, x), 1e-9)
    kept = shuffled(model, x)
    assert row(kept)["R"] == row(result)["R"] and row(kept)["R_shuffled"] != row(result)["R_shuffled"]
    assert result.notes[-1] == (
        "After each shuffle, 5 batch norms had their running statistics estimated anew in one more pass over the 40 "
        "clean images, in groups of 64 in the images' order."
    )
    assert result.provenance["passes"]["reestimation_rows"] == 40


def test_several_draws_are_combined_in_the_geometric_mean_with_a_band_over_draws(x, model):
    result = shuffled(model, x, shuffle_draws=3)
    singles = [row(flexure.sensitivity(reference.shuffled(model, LAYERS, draw=draw), x)) for draw in range(3)]
    logs = np.log([single["R"] for single in singles])
    found = row(result)
    assert found["R_shuffled"] == pytest.approx(math.exp(logs.mean()), rel=1e-10)
    assert found["R_shuffled_se"] == pytest.approx(found["R_shuffled"] * logs.std(ddof=1) / math.sqrt(3), rel=1e-9)
    assert result["R_shuffled_draws"].shape == (3, len(result))
    np.testing.assert_allclose(result["G_shuffled_draws"][:, -1], [single["G"] for single in singles], rtol=1e-10)


def test_more_draws_only_add_to_those_before(x, model):
    few, many = (shuffled(model, x, shuffle_draws=draws)["R_shuffled_draws"] for draws in (2, 3))
    np.testing.assert_array_equal(few, many[:2])


# The network itself


def test_the_full_curve_and_the_network_are_what_they_are_without(x, model):
    weights, before = {name: value.clone() for name, value in model.state_dict().items()}, model(x)
    plain = flexure.sensitivity(model, x, initialized=[gauge.seeded(gauge.ResidualNet, 1).double()])
    both = shuffled(
        model, x, initialized=[gauge.seeded(gauge.ResidualNet, 1).double()], shuffle_batch_norm="reestimate"
    )
    assert torch.equal(model(x), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    pd.testing.assert_frame_equal(both.to_frame()[list(plain.to_frame())], plain.to_frame(), check_exact=True)
    assert {name: both.provenance["passes"][name] for name in plain.provenance["passes"]} == plain.provenance["passes"]


def test_a_network_of_one_channel_is_not_changed_by_shuffling(x):
    layers = [nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3), nn.Flatten(), nn.LazyLinear(4)]
    model = built(nn.Sequential(*layers).double(), x[:, :1])
    result = shuffled(model, x[:, :1])
    assert_agree(result, result, 1e-12)  # the geometric mean of one number rounds it
    assert "Not shuffled (one input channel): 0, 2." in result.notes[-1]


@pytest.mark.parametrize("seed", range(4))
def test_draws_that_change_nothing_leave_a_band_of_exactly_no_width(x, seed):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 8, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(4)]
    model = built(nn.Sequential(*layers).double(), x[:, :1])
    found = shuffled(model, x[:, :1], shuffle_draws=3).to_frame()
    assert (found[["D_shuffled_se", "G_shuffled_se", "R_shuffled_se"]] == 0).all(axis=None)


def test_a_network_without_convolutions_says_so_and_is_measured(x):
    result = shuffled(gauge.linear().double(), x[..., :8, :8], shuffle_draws=2)
    assert (result["status_shuffled"] == "no convolution to shuffle").all()
    assert any(note.startswith("Channels were shuffled in no convolution. ") for note in result.notes)
    assert np.isnan(result["R_shuffled"]).all() and np.isfinite(row(result)["R"])
    assert result.provenance["passes"]["shuffled_rows"] == 0


def test_notes_say_once_what_was_left_alone(x, model):
    result = shuffled(model, x, shuffle_draws=2, shuffle_skip_first=True)
    expected = (
        "Channels were shuffled in 4 convolutions. Not shuffled (the first convolution): conv1. "
        "Not shuffled (linear layers never are): fc."
    )
    assert result.notes.count(expected) == 1


# One measurement, split every which way


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_the_batch_size_changes_nothing_in_float64(x, model, batch_size):
    options = {"shuffle_draws": 2, "shuffle_batch_norm": "reestimate", "group_size": 13, "draws": 2}
    one, other = (shuffled(model, x, batch_size=size, **options).to_frame()[SHUFFLED] for size in (64, batch_size))
    np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("after", [2, 5, 8, 11, 14])
@pytest.mark.parametrize(
    "options",
    [{}, {"shuffle_batch_norm": "reestimate"}, {"precision": 0.15, "max_draws": 6}, {"reduction": "norm_median"}],
    ids=str,
)
def test_a_stopped_measurement_goes_on_bit_for_bit(x, model, options, after):
    options = {**options, "shuffle_draws": 2, "initialized": [gauge.seeded(gauge.ResidualNet, 1).double()]}
    x = x[:12].clone()
    x[3, 0, 0, 0] = torch.nan
    whole, shelf = shuffled(model, x, batch_size=12, **options), Shelf()
    try:
        shuffled(model, x, batch_size=12, checkpoint=shelf, progress=stopping(after), **options)
    except KeyboardInterrupt:
        assert shelf.saves
    again = shuffled(model, x, batch_size=12, checkpoint=shelf, **options)
    pd.testing.assert_frame_equal(whole.to_frame(), again.to_frame(), check_exact=True)
    np.testing.assert_array_equal(whole["R_shuffled_draws"], again["R_shuffled_draws"])
    assert whole.notes == again.notes
    assert whole.provenance["passes"] == again.provenance["passes"]


def test_what_was_done_is_not_done_again(x, model):
    shelf, calls = Shelf(), []
    with pytest.raises(KeyboardInterrupt):
        shuffled(model, x, checkpoint=shelf, progress=stopping(6), batch_size=30)
    shuffled(model, x, checkpoint=shelf, progress=lambda done, total: calls.append((done, total)), batch_size=30)
    assert calls == [(3, 4), (4, 4)]


# Costs and refusals


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({}, (15, 15)),
        ({"shuffle_draws": 1}, (6, 6)),
        ({"shuffle_draws": 2, "draws": 2, "initialized": 1}, (20, 20)),
        ({"shuffle_draws": 2, "shuffle_batch_norm": "reestimate"}, (11, 11)),
        ({"shuffle_draws": 2, "shuffle_batch_norm": "reestimate", "precision": 0.1}, (17, 482)),
    ],
)
def test_every_draw_counts_as_a_network(options, passes):
    assert PROBES["sensitivity"].cost({"shuffle": "input", **options}, 10) == passes


def test_the_rows_of_shuffled_networks_are_counted(x, model):
    passes = shuffled(model, x, shuffle_draws=3).provenance["passes"]
    assert passes == {"rows": 120, "extra_clean": 0, "shuffled_rows": 360, "reestimation_rows": 0}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shuffle": "output"}, "no shuffle 'output'"),
        ({"shuffle_draws": 2}, "shuffle_draws=2 goes with shuffle='input'"),
        ({"shuffle": "input", "shuffle_draws": 0}, "shuffle_draws must be a whole number of at least 1; got 0"),
        (
            {"shuffle": "input", "shuffle_scope": "per_outptu"},
            "no shuffle_scope 'per_outptu'. Did you mean 'per_output'",
        ),
        ({"shuffle": "input", "shuffle_batch_norm": "kept"}, "no shuffle_batch_norm 'kept'. Did you mean 'keep'"),
        ({"shuffle": "input", "shuffle_skip_first": 1}, "shuffle_skip_first must be True or False; got 1"),
        (
            {"shuffle": "input", "shuffle_batch_norm": "reestimate", "batch_norm": "batch"},
            "shuffle_batch_norm='reestimate' goes with batch_norm='running'",
        ),
    ],
)
def test_wrong_options_are_refused_in_words(x, model, options, words):
    with pytest.raises(ArgumentError) as caught:
        flexure.sensitivity(model, x, **options)
    assert words in str(caught.value)


# On a real network


def test_a_trained_network_is_less_stable_when_its_channels_are_shuffled(real_data, trained_resnet20):
    images = flexure.load(f"folder:{real_data / 'cifar10' / 'test'}", limit=100)
    specimen = flexure.resolve("resnet20", weights=str(trained_resnet20))
    result = shuffled(specimen, images, shuffle_draws=3)
    found = row(result)
    # found with 300 images and 4 shuffles: 0.222 ± 0.013 in full, 0.57 ± 0.09 shuffled, 0.84 initialized
    assert found["R"] + 4 * found["R_se"] < found["R_shuffled"]
    early = row(result, "relu")
    assert early["R_shuffled"] == pytest.approx(early["R"], rel=0.1)  # one layer of three colors has little to shuffle
