"""Eigenvalues of similarities: known spectra, indefinite matrices, embeddings that give the kernel back."""

import numpy as np
import pandas as pd
import pytest

from flexure.analysis.spectrum import spectrum
from flexure.errors import ArgumentError
from flexure.results import Result


def row(found):
    return found.to_frame().iloc[0]


def test_the_identity_and_all_ones_have_known_spectra():
    found = spectrum(np.eye(8))
    assert found["eigenvalue"][0] == pytest.approx(np.full(8, 1 / 8))
    assert row(found)["effective_rank"] == pytest.approx(8) and row(found)["at_least_tenth"] == 8
    found = row(spectrum(np.ones((8, 8))))
    assert found["largest"] == pytest.approx(1) and found["effective_rank"] == pytest.approx(1)
    assert (found["at_least_zero"], found["at_least_tenth"], found["components"]) == (8, 1, 1)
    assert found["largest_se"] == pytest.approx(0, abs=1e-9) and found["largest_share"] == pytest.approx(1)


def test_an_indefinite_matrix_has_its_negative_part_counted_and_no_roots_of_it():
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
    values = np.array([6.0, 3.0, 0.5, 0.0, -1.5, -3.0])
    found = spectrum((q * values) @ q.T, components=10)
    assert found["eigenvalue"][0] == pytest.approx(np.sort(values)[::-1] / 6, abs=1e-12)
    assert row(found)["negative"] == pytest.approx(4.5 / 14)
    assert row(found)["effective_rank"] == pytest.approx(14**2 / (values**2).sum())
    assert (row(found)["at_least_zero"], row(found)["at_least_tenth"], row(found)["components"]) == (4, 2, 3)
    assert np.isfinite(found["embedding"]).all() and np.isfinite(found["kernel_distance"]).all()


def test_the_embedding_gives_back_inner_products_and_distances_of_the_kernel():
    x = np.random.default_rng(0).normal(size=(12, 4))
    found = spectrum(x @ x.T)
    one = found["embedding"][0]
    assert np.allclose(one @ one.T, x @ x.T) and np.allclose(one[:, 4:], 0)
    assert np.allclose(found["kernel_distance"][0], np.linalg.norm(x[:, None] - x, axis=2))
    assert found["embedding"].shape == (1, 12, 10)


def test_errors_say_how_far_the_largest_eigenvalue_is_from_the_truth():
    off = []
    for seed in range(100):
        x = np.random.default_rng(seed).normal(size=(60, 5)) * np.array([3.0, 1, 1, 1, 1])
        found = row(spectrum(x @ x.T))
        off.append((found["largest"] - 9.0) / found["largest_se"])
    assert 0.8 < np.std(off) < 1.4 and abs(np.mean(off)) < 0.6


def test_images_without_numbers_are_left_out_and_their_places_stay_empty():
    matrix = np.eye(5)
    matrix[2] = np.nan
    found = spectrum(matrix)
    assert (row(found)["n"], row(found)["left_out"], row(found)["status"]) == (4, 1, "measured")
    assert np.isnan(found["embedding"][0, 2]).all() and np.isnan(found["kernel_distance"][0, 2]).all()
    assert found["eigenvalue"][0][:4] == pytest.approx(np.full(4, 0.25)) and np.isnan(found["eigenvalue"][0, 4])
    assert row(spectrum(np.full((3, 3), np.nan)))["status"] == "no two images with numbers"
    assert row(spectrum(np.zeros((3, 3))))["status"] == "all similarities are zero"


def test_the_order_of_the_images_changes_nothing_else():
    x = np.random.default_rng(0).normal(size=(9, 3))
    order = np.random.default_rng(1).permutation(9)
    one, two = spectrum(x @ x.T), spectrum((x @ x.T)[np.ix_(order, order)])
    assert np.allclose(one["eigenvalue"], two["eigenvalue"])
    assert np.allclose(one["embedding"][0][order], two["embedding"][0])


def test_kernel_and_cosine_of_a_result_are_taken_unasked():
    table = pd.DataFrame({"layer": ["output"]})
    both = {"kernel": 2 * np.eye(4), "cosine": np.eye(4), "relative": np.eye(4)}
    found = spectrum(Result("elasticity", "?", table, both))
    assert found["similarity"].tolist() == ["kernel", "cosine"]
    assert spectrum(Result("elasticity", "?", table, both), similarity="relative")["largest"][0] == pytest.approx(0.25)


def test_what_is_not_square_is_refused():
    with pytest.raises(ArgumentError, match=r"'kernel' is of shape \(2, 3\); expected a square matrix"):
        spectrum(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="components must be a whole number of at least 1; got 0"):
        spectrum(np.eye(3), components=0)
