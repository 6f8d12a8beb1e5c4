"""The map of classes that move one another: blocks whose means are known, errors over images, other images watched."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import flexure
from flexure.analysis.class_sensitivity import ALL, class_sensitivity
from flexure.errors import ArgumentError
from flexure.results import Result

LABELS = np.repeat(np.arange(3), [4, 5, 6])


def result(values, labels=LABELS, **arrays):
    table = pd.DataFrame({"layer": ["output"], "n": [len(values)], "status": ["measured"]})
    told = {} if labels is None else {"labels": labels}
    about = {"specimen": {"name": "made"}, "points": None if values.shape[0] == values.shape[1] else {"name": "others"}}
    return Result("elasticity", "?", table, {"relative_signed": values} | told | arrays, provenance=about)


def blocks(a=0.8, b=-0.2, labels=LABELS):
    return np.where(labels[:, None] == labels, a, b)


def overall(found):
    return found.to_frame().iloc[-1]


def test_constant_blocks_are_found_with_their_signs_and_no_error():
    found = class_sensitivity(result(blocks()))
    assert np.allclose(found["sensitivity_map"], np.where(np.eye(3), 0.8, 0.2))
    assert np.allclose(found["signed_map"], np.where(np.eye(3), 0.8, -0.2))
    assert np.allclose(found["sensitivity_map_se"], 0, atol=1e-12)
    assert overall(found)["worst_over_average"] == pytest.approx(3 * 0.8 / (0.8 + 2 * 0.2))
    assert overall(found)["worst_over_average_se"] == pytest.approx(0, abs=1e-12)
    first = found.to_frame().iloc[1]
    assert (first["stepped"], first["watched"], first["n"], first["pairs"]) == ("0", "1", 9, 20)
    assert found.to_frame().iloc[0]["n"] == 4 and overall(found)["n"] == 15 and overall(found)["stepped"] == ALL


def test_where_every_class_moves_a_class_alike_the_worst_is_the_average():
    assert overall(class_sensitivity(result(np.ones((15, 15)))))["worst_over_average"] == pytest.approx(1)


def test_an_image_with_itself_does_not_count():
    values = blocks() + 100 * np.eye(15)
    assert np.allclose(class_sensitivity(result(values))["sensitivity_map"], np.where(np.eye(3), 0.8, 0.2))


def slow_errors(values, labels, estimate):
    """Jackknife by leaving out one image after the other and beginning anew, class by class."""
    total = 0.0
    for k in np.unique(labels):
        without = []
        for place in np.flatnonzero(labels == k):
            stay = np.arange(len(labels)) != place
            without.append(estimate(class_sensitivity(result(values[np.ix_(stay, stay)], labels[stay]))))
        n = len(without)
        total = total + (n - 1) / n * np.sum((np.array(without) - np.mean(without, 0)) ** 2, 0)
    return np.sqrt(total)


def test_errors_are_those_of_a_plain_jackknife_within_classes():
    values = np.random.default_rng(0).normal(size=(15, 15))
    found = class_sensitivity(result(values))
    assert np.allclose(found["signed_map_se"], slow_errors(values, LABELS, lambda one: one["signed_map"]))
    ratio = slow_errors(values, LABELS, lambda one: overall(one)["worst_over_average"])
    assert overall(found)["worst_over_average_se"] == pytest.approx(ratio)


def test_errors_say_how_far_means_are_from_the_truth():
    off = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1], 25)
        own, other = rng.normal(0, 0.5, 50), rng.normal(0, 0.3, 50)
        values = blocks(0.7, 0.1, labels) + own[:, None] + other + rng.normal(0, 0.2, (50, 50))
        found = class_sensitivity(result(values, labels))
        off.append((found["signed_map"] - np.where(np.eye(2), 0.7, 0.1)) / found["signed_map_se"])
    spread = np.std(off, 0)
    assert (spread > 0.75).all() and (spread < 1.25).all()
    assert (np.abs(np.mean(off, 0)) < 4 / math.sqrt(80)).all()


def test_other_images_are_watched_by_their_own_classes_and_both_sets_have_a_part_in_the_error():
    rng = np.random.default_rng(0)
    points = np.array([0, 1, 1, 2, 2, 2, 0])
    values = np.where(LABELS[:, None] == points, 0.8, -0.2) + rng.normal(0, 0.1, (15, 1)) + rng.normal(0, 0.2, (1, 7))
    found = class_sensitivity(result(values, point_labels=points))
    assert np.allclose(found["signed_map"], np.where(np.eye(3), 0.8, -0.2), atol=0.5)
    rows = values[LABELS == 0][:, points == 1]
    expected = math.sqrt(rows.mean(1).var(ddof=1) / 4 + rows.mean(0).var(ddof=1) / 2)
    assert found["signed_map_se"][0, 1] == pytest.approx(expected)
    assert found.to_frame().iloc[0]["n"] == 4 + 2
    with pytest.raises(ArgumentError, match="knows no classes of these images; give point_labels="):
        class_sensitivity(result(values))


def test_slopes_of_the_loss_turn_a_kernel_into_what_a_step_does_to_the_loss():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()
    x, y = torch.rand(6, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1, 0])
    measured = flexure.elasticity(network, (x, y))
    slopes = (network(x).flatten() - y).detach().numpy()  # of half a square
    found = class_sensitivity(measured, similarity="kernel", slopes=slopes)
    expected = np.zeros((6, 6))
    for i in range(6):
        stepped = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double()
        stepped.load_state_dict(network.state_dict())
        loss = 0.5 * (stepped(x[i : i + 1]).flatten() - y[i]).square().sum()
        loss.backward()
        with torch.no_grad():
            for p in stepped.parameters():
                p -= 1e-7 * p.grad
            expected[i] = (0.5 * ((network(x).flatten() - y) ** 2 - (stepped(x).flatten() - y) ** 2)).numpy() / 1e-7
    mask = ~np.eye(6, dtype=bool)
    of = lambda k, m: expected[np.ix_(y.numpy() == k, y.numpy() == m)][mask[np.ix_(y.numpy() == k, y.numpy() == m)]]  # noqa: E731
    assert found["signed_map"] == pytest.approx(np.array([[of(k, m).mean() for m in (0, 1)] for k in (0, 1)]), rel=1e-5)


def test_images_without_a_class_or_a_number_are_left_out():
    labels = LABELS.copy()
    labels[-1] = -1
    values = blocks()
    values[-1], values[0, 1] = 7.0, np.nan
    found = class_sensitivity(result(values, labels))
    assert np.allclose(found["sensitivity_map"], np.where(np.eye(3), 0.8, 0.2))
    assert found.to_frame().iloc[0]["pairs"] == 11 and overall(found)["n"] == 14


def test_a_class_of_one_image_has_no_mean_within_and_says_so():
    labels = np.array([0, 0, 0, 1])
    found = class_sensitivity(result(blocks(labels=labels), labels)).to_frame()
    lone = found[(found["stepped"] == "1") & (found["watched"] == "1")].iloc[0]
    assert np.isnan(lone["sensitivity"]) and lone["status"] == "no pair of different images"
    assert np.isfinite(found.iloc[0]["sensitivity_se"]) and np.isnan(found.iloc[1]["sensitivity_se"])
    assert found.iloc[-1]["status"] == "some classes have no pair of different images"
    assert np.isnan(found.iloc[-1]["worst_over_average"])


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(
        ArgumentError, match=r"labels must be whole numbers, one for each of 15 images; got int64 \(3,\)"
    ):
        class_sensitivity(result(blocks()), labels=[0, 1, 2])
    with pytest.raises(ArgumentError, match="give labels="):
        class_sensitivity(result(blocks(), None))
    with pytest.raises(ArgumentError, match="no image has a class"):
        class_sensitivity(result(blocks()), labels=np.full(15, -1))
    with pytest.raises(ArgumentError, match=r"'labels' is of shape \(15,\); expected a matrix"):
        class_sensitivity(result(blocks()), similarity="labels")
    with pytest.raises(ArgumentError, match=r"slopes must be 15 numbers, one per image; got shape \(2,\)"):
        class_sensitivity(result(blocks()), slopes=[1.0, 2.0])
