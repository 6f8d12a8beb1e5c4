"""Measured sensitivities beside exact path counts: what constant filters must give, they give."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch

import flexure
from flexure import Specimen
from flexure.analysis.theory import _exponent, path_exponents, path_theory
from flexure.data import ScaleDetection
from flexure.errors import ArgumentError
from flexure.models.simple_cnn import SimpleCNN, homogeneous
from flexure.perturb.translation import LocalTranslation
from flexure.results import MEASURED, Result

SIZES = [(2, 2), (3, 1), (4, 2), (3, 2)]


def measured(net, data, **options):
    options = {"transform": data.translation, "noise": "rectified", "dtype": "float64"} | options
    return flexure.sensitivity(net, data, batch_size=256, **options)


def constant(kernel, stride, depth=5, dimensions=1):
    return homogeneous(
        SimpleCNN(hidden=1, depth=depth, kernel=kernel, strides=stride, dimensions=dimensions, bias=False)
    )


@pytest.fixture(scope="module")
def ring():
    return ScaleDetection(dimensions=1, size=300)


@pytest.fixture(scope="module")
def example(ring):
    """A measurement of constant filters and its theory."""
    found = measured(constant(2, 2), ring)
    return found, path_theory(found, ring, kernels=[2] * 5, strides=[2] * 5)


@pytest.mark.parametrize("noise", ["rectified", "sphere"])
@pytest.mark.parametrize("task", ["distance", "blocks"])
@pytest.mark.parametrize(("kernel", "stride"), SIZES)
def test_constant_filters_are_as_sensitive_as_path_counts_say(kernel, stride, task, noise):
    data = ScaleDetection(dimensions=1, task=task, size=600)
    net = constant(kernel, stride, depth=4)
    table = path_theory(
        measured(net, data, noise=noise, draws=4), data, kernels=net.kernels, strides=net.strides
    ).to_frame()
    assert (table["status"] == MEASURED).all()
    for name in ("D", "G", "R"):
        assert (table[f"{name}_log_ratio"].abs() <= 4 * table[f"{name}_log_ratio_se"]).all()
        assert (table[f"{name}_log_ratio_se"] < 0.2).all()


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2)])
def test_so_they_are_in_two_dimensions(kernel, stride):
    data = ScaleDetection(side=16, scale=8, size=300, test_size=400)
    net = constant(kernel, stride, depth=3, dimensions=2)
    table = path_theory(measured(net, data), data, kernels=net.kernels, strides=net.strides).to_frame()
    for name in ("D", "G"):
        assert (table[f"{name}_log_ratio"].abs() <= 4 * table[f"{name}_log_ratio_se"]).all()


def test_a_power_of_none_has_no_sign(ring):
    net = constant(3, 2, depth=4, dimensions=1)
    notes = path_theory(measured(net, ring), ring, kernels=net.kernels, strides=net.strides).notes
    assert notes[0].endswith("; 0 in the limit of many layers.")


def test_a_network_of_random_filters_is_not(ring):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = SimpleCNN(hidden=8, depth=4).eval()
    table = path_theory(measured(net, ring), ring, kernels=net.kernels, strides=net.strides).to_frame()
    assert (table["D_log_ratio"] > 4 * table["D_log_ratio_se"]).any()


def test_columns_are_what_was_measured_and_what_path_counts_give(example):
    found, theory = example
    table, rows = theory.to_frame(), found.to_frame().query("kind == 'ScaledReLU'")
    assert table["layer"].tolist() == rows["layer"].tolist() == [f"relu{k}" for k in range(1, 6)]
    assert table["A"].tolist() == [2, 4, 8, 16, 32] and table["k"].tolist() == [1, 2, 3, 4, 5]
    for name in ("D", "G", "R"):
        assert table[name].tolist() == rows[name].tolist()
        assert np.log(table[name] / table[f"{name}_path"]).tolist() == pytest.approx(
            table[f"{name}_log_ratio"].tolist()
        )
        relative = (table[f"{name}_se"] / table[name]).tolist()
        assert table[f"{name}_log_ratio_se"].tolist() == pytest.approx(relative)
    assert (table["R_path"] == table["D_path"] / table["G_path"]).all()


def test_exponents_are_slopes_of_logs_over_layers(example):
    _, theory = example
    table, rows = theory.to_frame(), path_exponents(theory).to_frame().set_index("quantity")
    for name in ("D", "G", "R"):
        slope, _ = np.polyfit(np.log(table["A"]), np.log(table[name]), 1)
        path, _ = np.polyfit(np.log(table["A"]), np.log(table[f"{name}_path"]), 1)
        assert (rows.slope[name], rows.path_slope[name]) == pytest.approx((slope, path))
        assert rows.slope_low[name] < slope < rows.slope_high[name]
        assert rows.slope_high[name] - slope == pytest.approx(3.182 * rows.slope_se[name], rel=1e-3)  # t, 3 freedoms
    assert rows["limit"].tolist() == [-1, 1, -2] and (rows["n"] == 5).all()
    assert any("D goes as A^" in note and "-1 in the limit" in note for note in theory.notes)


def test_a_power_law_gives_its_power_without_error(example):
    _, theory = example
    table = theory.to_frame().assign(D=lambda t: 3 * t["A"] ** -1.5)
    row = _exponent(table, "D", None)
    assert row["slope"] == pytest.approx(-1.5) and row["slope_se"] == pytest.approx(0, abs=1e-9)


def test_layers_that_differ_have_no_limit_and_too_few_no_slope(ring):
    net = homogeneous(SimpleCNN(hidden=1, kernel=[3, 2], strides=[1, 2], bias=False))
    theory = path_theory(measured(net, ring), ring, kernels=net.kernels, strides=net.strides)
    rows = path_exponents(theory).to_frame()
    assert rows["limit"].isna().all() and rows["slope"].isna().all()
    assert set(rows["status"]) == {"2 layers of different effective size; at least 3 are needed"}


def test_a_layer_to_which_all_images_are_alike_says_so(ring):
    net = constant(2, 2, depth=7)
    table = path_theory(measured(net, ring), ring, kernels=net.kernels, strides=net.strides).to_frame()
    assert table["status"].tolist() == [MEASURED] * 6 + ["all images are alike to constant filters"]
    assert math.isnan(table["D_log_ratio"].iloc[-1])


def test_hops_within_what_a_unit_sees_have_a_status_and_no_ratio():
    data = ScaleDetection(dimensions=1, task="blocks", size=100)
    table = path_theory(measured(constant(2, 2), data), data, kernels=[2] * 5, strides=[2] * 5).to_frame()
    assert table["status"].iloc[4] == "no response to moves" and math.isnan(table["D_log_ratio"].iloc[4])
    assert table["D_path"].iloc[4] == 0


def test_without_images_one_lit_pixel_predicts(example):
    found, theory = example
    table = path_theory(found, kernels=[2] * 5, strides=[2] * 5).to_frame()
    assert table["D_path"].tolist() == pytest.approx([(1 / a) / (1 - a / 128) for a in (2, 4, 8, 16, 32)])
    assert not np.allclose(table["D_path"], theory.to_frame()["D_path"], rtol=1e-3)


def test_layers_can_be_named(example, ring):
    found, _ = example
    table = path_theory(found, ring, kernels=[2, 2], strides=[2, 2], layers=["conv1", "conv2"]).to_frame()
    assert table["layer"].tolist() == ["conv1", "conv2"]


def test_it_goes_to_disk_and_back(example, tmp_path):
    for one in (example[1], path_exponents(example[1])):
        back = Result.load(one.save(tmp_path))
        pd.testing.assert_frame_equal(back.to_frame(), one.to_frame())
        assert back.provenance["exponents"] == one.provenance["exponents"]


def other(found, **settings):
    origin = {**found.provenance, "settings": {**found.provenance["settings"], **settings}}
    return dataclasses.replace(found, provenance=origin)


@pytest.mark.parametrize(
    ("spoil", "options", "words"),
    [
        (
            lambda r: dataclasses.replace(r, probe="filters"),
            {},
            "expected a result of sensitivity; got one of 'filters'",
        ),
        (lambda r: other(r, reduction="norm_median"), {}, "measured with reduction='norm_median'"),
        (lambda r: other(r, match="fixed"), {}, "match='fixed'; path counts predict match='per_image' or 'batch_rms'"),
        (lambda r: other(r, transform=None), {}, "not measured with a local translation"),
        (lambda r: r, {"layers": ["relu1", "relo2"]}, "no layer 'relo2' in the result. Did you mean 'relu2'"),
        (lambda r: r, {"kernels": [2], "strides": [2]}, "5 layers .* for 1 kernels and strides"),
        (
            lambda r: r,
            {"transform": LocalTranslation()},
            r"measured with .*periodic=True.* predicted for .*periodic=False",
        ),
        (lambda r: r, {"images": ScaleDetection(dimensions=1, size=20)}, "not those that were measured"),
    ],
)
def test_what_path_counts_cannot_predict_is_refused_in_words(example, ring, spoil, options, words):
    options = {"images": ring, "kernels": [2] * 5, "strides": [2] * 5} | options
    with pytest.raises(ArgumentError, match=words):
        path_theory(spoil(example[0]), **options)


def test_normalized_images_are_refused(ring):
    found = measured(Specimen(constant(2, 2), normalize=(0.5, 1.0)), ring)
    with pytest.raises(ArgumentError, match="normalized, so that dark pixels were not 0"):
        path_theory(found, ring, kernels=[2] * 5, strides=[2] * 5)


def test_exponents_of_another_result_are_refused(example):
    with pytest.raises(ArgumentError, match="expected a result of path_theory; got one of 'sensitivity'"):
        path_exponents(example[0])
