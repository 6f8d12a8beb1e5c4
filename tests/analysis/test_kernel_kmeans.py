"""Kernel K-means: K-means where the kernel is linear, the best partition where all can be tried, no empty cluster."""

from itertools import product

import numpy as np
import pytest
from sklearn.cluster import KMeans

from flexure.analysis.agreement import agreement
from flexure.analysis.kernel_kmeans import kernel_kmeans, repaired


def points(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def indefinite(n, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(n, n))
    return matrix + matrix.T


def scatter(kernel, assignment):
    """The objective, written out: squared distances of all pairs within a cluster ÷ twice its size."""
    total = 0.0
    for c in set(assignment):
        members = [i for i, own in enumerate(assignment) if own == c]
        pairs = (kernel[i, i] + kernel[j, j] - 2 * kernel[i, j] for i in members for j in members)
        total += sum(pairs) / (2 * len(members))
    return total


@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_on_inner_products_of_points_it_is_k_means(clusters):
    x = points(40, 3)
    found = kernel_kmeans(x @ x.T, clusters, restarts=200)  # a cloud without clusters: few starts find the best
    peer = KMeans(clusters, n_init=200, random_state=0).fit(x)
    assert found.objective == pytest.approx(peer.inertia_)
    assert agreement(peer.labels_, found.assignment).ari == pytest.approx(1)
    assert found.converged and found.assignment.dtype == np.int64


def test_the_best_of_all_partitions_is_found():
    kernel = points(9, 4, seed=1) @ points(9, 4, seed=1).T
    best = min(scatter(kernel, one) for one in product((0, 1), repeat=9) if 0 < sum(one) < 9)
    found = kernel_kmeans(kernel, 2)
    assert found.objective == pytest.approx(best) == pytest.approx(scatter(kernel, found.assignment))


def test_more_restarts_are_never_worse():
    kernel = points(60, 2, seed=2) @ points(60, 2, seed=2).T
    found = [kernel_kmeans(kernel, 6, restarts=restarts).objective for restarts in (1, 2, 5, 20)]
    assert found == sorted(found, reverse=True) and found[-1] < found[0]


def test_moving_all_points_together_changes_nothing_and_scaling_scales():
    x = points(30, 3, seed=3)
    one, moved = kernel_kmeans(x @ x.T, 3), kernel_kmeans((x + 5) @ (x + 5).T, 3)
    assert moved.objective == pytest.approx(one.objective)
    assert kernel_kmeans(7 * x @ x.T, 3).objective == pytest.approx(7 * one.objective)


def test_the_order_of_the_points_does_not_matter():
    x, order = points(40, 2, seed=4), np.random.default_rng(0).permutation(40)
    one, other = kernel_kmeans(x @ x.T, 3), kernel_kmeans(x[order] @ x[order].T, 3)
    assert other.objective == pytest.approx(one.objective)
    assert agreement(one.assignment[order], other.assignment).ari == pytest.approx(1)


def test_no_cluster_is_empty_however_crowded_the_points_are():
    x = np.repeat([[0.0], [1.0], [50.0]], [20, 20, 1], axis=0)
    assert set(kernel_kmeans(x @ x.T, 3).assignment) == {0, 1, 2}
    alike = np.ones((5, 5))
    assert set(kernel_kmeans(alike, 3).assignment) == {0, 1, 2}  # no start has more than one cluster
    assert sorted(kernel_kmeans(np.diag(np.arange(1.0, 7)), 6).assignment) == [0, 1, 2, 3, 4, 5]


def test_the_same_seed_gives_the_same_clusters_and_the_global_generator_is_left_alone():
    kernel = points(30, 2, seed=5) @ points(30, 2, seed=5).T
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two = (kernel_kmeans(kernel, 4, restarts=1, seed=3) for _ in range(2))
    assert np.array_equal(one.assignment, two.assignment)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert len({kernel_kmeans(kernel, 4, restarts=1, seed=seed).objective for seed in range(8)}) > 1


def test_a_start_that_is_cut_short_says_so():
    x = points(200, 2, seed=6)
    assert not kernel_kmeans(x @ x.T, 5, restarts=1, iterations=1).converged


def test_a_kernel_is_left_as_it_is():
    kernel = points(20, 3) @ points(20, 3).T  # rank 3: seventeen eigenvalues are zero up to rounding
    assert repaired(kernel).kernel is kernel and repaired(kernel).lowest == 0
    rounded = kernel.astype(np.float32).astype(float)
    assert np.linalg.eigvalsh(rounded)[0] < -1e-8 and repaired(rounded).kernel is rounded


def test_clipping_keeps_what_is_positive_and_says_what_was_not():
    matrix = indefinite(15)
    values, vectors = np.linalg.eigh(matrix)
    found = repaired(matrix)
    np.testing.assert_allclose(found.kernel, (vectors * np.maximum(values, 0)) @ vectors.T, atol=1e-12)
    assert (found.lowest, found.highest) == pytest.approx((values[0], values[-1]))
    assert found.negative == pytest.approx(-values[values < 0].sum() / np.abs(values).sum())


def test_shifting_adds_the_same_to_every_clustering():
    matrix, assignment = indefinite(12), np.arange(12) % 3
    found = repaired(matrix, "shift")
    assert np.linalg.eigvalsh(found.kernel)[0] == pytest.approx(0, abs=1e-12)
    more = scatter(found.kernel, assignment) - scatter(matrix, assignment)
    assert more == pytest.approx(-found.lowest * (12 - 3))


@pytest.mark.parametrize("repair", ["clip", "shift"])
def test_a_repaired_matrix_can_be_clustered(repair):
    blocks = np.kron(np.eye(2), np.ones((10, 10)))
    noisy = blocks + 0.05 * indefinite(20)
    found = kernel_kmeans(repaired(noisy, repair).kernel, 2)
    assert agreement(np.repeat([0, 1], 10), found.assignment).accuracy == 1
    assert found.objective >= 0
