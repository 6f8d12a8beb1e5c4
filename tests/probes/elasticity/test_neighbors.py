"""A few images with those most and least like them: who they are, and that they are shown as they were given."""

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.arrays import Arrays
from flexure.probes.elasticity.distances import euclidean
from flexure.probes.elasticity.neighbors import neighbors

UNKNOWN = -np.ones(9, dtype=int)


@pytest.fixture
def alike() -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(9, 9))
    return values + values.T


def test_they_are_the_three_largest_and_the_three_smallest_falling_throughout(alike):
    for row, *others in neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=True):
        rest = sorted(np.delete(alike[row], row), reverse=True)
        np.testing.assert_array_equal(alike[row][others], [*rest[:3], *rest[-3:]])


def test_the_first_image_of_each_of_up_to_six_classes_is_shown(alike):
    labels = np.array([2, 0, 2, 0, 1, 1, 2, 0, 1])
    np.testing.assert_array_equal(neighbors(Arrays({"cosine": alike}), labels, is_own=True)[:, 0], [1, 4, 0])
    np.testing.assert_array_equal(neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=True)[:, 0], range(6))
    np.testing.assert_array_equal(neighbors(Arrays({"cosine": alike}), np.arange(9), is_own=True)[:, 0], range(6))


def test_other_images_may_be_at_the_same_place(alike):
    np.fill_diagonal(alike, 99.0)
    np.testing.assert_array_equal(neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=False)[:, 1], range(6))
    assert (neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=True)[:, 1] != np.arange(6)).all()


def test_rows_without_numbers_are_passed_over_and_columns_without_are_nobodys_neighbors(alike):
    alike[0], alike[:, 0] = np.nan, np.nan
    found = neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=True)
    np.testing.assert_array_equal(found[:, 0], range(1, 7))
    assert 0 not in found


def test_where_no_cosine_is_defined_the_signed_relative_similarity_orders_them(alike):
    nothing = np.full_like(alike, np.nan)
    found = neighbors(Arrays({"kernel": -alike, "relative_signed": alike, "cosine": nothing}), UNKNOWN, is_own=True)
    np.testing.assert_array_equal(found, neighbors(Arrays({"cosine": alike}), UNKNOWN, is_own=True))
    assert neighbors(Arrays({"cosine": nothing}), UNKNOWN, is_own=True).size == 0


def test_with_few_images_there_are_fewer_neighbors():
    assert neighbors(Arrays({"cosine": np.eye(4)}), UNKNOWN[:4], is_own=True).shape == (4, 3)
    assert neighbors(Arrays({"cosine": np.eye(2)}), UNKNOWN[:2], is_own=True).size == 0


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 1)).double()


def test_a_result_holds_the_images_as_they_were_given_with_place_and_index():
    x = torch.rand(9, 3, 2, 2, dtype=torch.float64)
    specimen = flexure.Specimen(network(), normalize=([0.2, 0.3, 0.4], [0.5, 0.6, 0.7]))
    found = flexure.elasticity(specimen, (x, torch.arange(9) % 2))
    places = found["sample_place"]
    assert places.shape == (2, 7) and places[:, 0].tolist() == [0, 1]
    np.testing.assert_array_equal(found["sample_index"], found["index"][places])
    np.testing.assert_allclose(found["sample_image"], x[torch.tensor(places)], atol=1e-6)


def test_other_images_are_shown_from_their_own_set():
    x, points = (torch.rand(n, 3, 2, 2, dtype=torch.float64) for n in (4, 8))
    found = flexure.elasticity(network(), x, points=points)
    places = torch.tensor(found["sample_place"])
    np.testing.assert_allclose(found["sample_image"][:, 0], x[places[:, 0]], atol=1e-6)
    np.testing.assert_allclose(found["sample_image"][:, 1:], points[places[:, 1:]], atol=1e-6)


def test_points_that_are_no_pictures_are_not_shown():
    torch.manual_seed(0)
    flat = flexure.elasticity(nn.Sequential(nn.Flatten(), nn.Linear(3, 1)), torch.rand(8, 3, 1, 1))
    assert not [name for name in flat.arrays if name.startswith("sample_")]


def test_distances_are_those_of_the_images_as_given_and_other_images_keep_their_classes():
    x, y = torch.rand(5, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    to = torch.rand(3, 1, 2, 2, dtype=torch.float64), torch.tensor([2, 0, 1])
    network = flexure.Specimen(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)).double(), normalize=(0.5, 0.1))
    own = flexure.elasticity(network, (x, y))
    expected = np.linalg.norm(x.flatten(1).numpy()[:, None] - x.flatten(1).numpy(), axis=2)
    np.testing.assert_allclose(own["distance"], expected, atol=1e-6)
    assert "point_labels" not in own.arrays
    found = flexure.elasticity(network, (x, y), points=to)
    expected = np.linalg.norm(x.flatten(1).numpy()[:, None] - to[0].flatten(1).numpy(), axis=2)
    np.testing.assert_allclose(found["distance"], expected, atol=1e-6)
    assert found["point_labels"].tolist() == [2, 0, 1] and found["point_index"].tolist() == [0, 1, 2]


def test_of_too_many_pairs_no_distances_are_kept(monkeypatch):
    assert euclidean(torch.zeros(2001, 1), torch.zeros(2000, 1)) is None
    assert euclidean(torch.zeros(2, 3), torch.zeros(2, 4)) is None
    one = torch.rand(50, 7)
    whole = euclidean(one, one)
    monkeypatch.setattr("flexure.probes.elasticity.distances._NUMBERS", 100)
    assert torch.allclose(euclidean(one, one), whole, atol=1e-5)
