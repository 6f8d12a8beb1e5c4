"""Clusters of similarities: found where they are, judged without their names, explained where they cannot be."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import flexure
from flexure.analysis.cluster import cluster
from flexure.errors import ArgumentError
from flexure.results import Result
from tests import gauge

ALL = ["kmeans", "kernel_kmeans", "spectral"]
NAMES = [
    "accuracy",
    "accuracy_se",
    "nmi",
    "nmi_se",
    "ari",
    "ari_se",
    "objective",
    "n",
    "labelled",
    "left_out",
    "status",
]


def blobs(n=30, distance=8.0, seed=0):
    """Points of two classes, ``n`` of each, on either side of the origin."""
    labels = np.repeat([0, 1], n)
    x = np.random.default_rng(seed).normal(size=(2 * n, 3))
    x[:, 0] += distance * (labels - 0.5)
    return x, labels


def measured(x, labels=None, **arrays):
    """What elasticity says of an affine network without bias: inner products."""
    kernel = x @ x.T
    signed = kernel / np.diag(kernel)[:, None]
    found = {"kernel": kernel, "relative": np.abs(signed), "relative_signed": signed} | arrays
    found |= {} if labels is None else {"labels": labels}
    table = pd.DataFrame({"layer": ["output"], "n": [len(x)], "status": ["measured"]})
    about = {
        "settings": {"step": None},
        "seed": 5,
        "specimen": {"name": "affine"},
        "data": {"name": "blobs", "n": len(x)},
    }
    return Result("elasticity", "How far?", table, found, provenance=about)


def rows(found, **where):
    table = found.to_frame()
    for name, value in where.items():
        table = table[table[name] == value]
    return table


def test_two_blobs_are_found_by_every_method():
    x, labels = blobs()
    signed = measured(x, labels)["relative_signed"]
    found = cluster(np.maximum(signed, 0), similarity="relative", labels=labels, method=ALL)
    assert list(found["method"]) == ALL and list(found["status"]) == ["measured"] * 3
    for name in ("accuracy", "nmi", "ari"):
        assert_allclose(found[name], 1)
        assert_allclose(found[f"{name}_se"], 0, atol=1e-7)
    assert_array_equal(found["assignment"], [labels] * 3)
    assert_array_equal(found["n"], 60)


def test_the_method_goes_with_the_similarity():
    x, labels = blobs()
    found = cluster(measured(x, labels))
    assert list(found["similarity"]) == ["relative", "kernel"] and list(found["method"]) == ["kmeans", "kernel_kmeans"]
    assert rows(found, similarity="kernel")["accuracy"].item() == 1
    more = cluster(measured(x, labels, **{"kernel/fc1": x @ x.T}), similarity=["relative_signed", "kernel/fc1"])
    assert list(more["method"]) == ["kmeans", "kernel_kmeans"]
    only = Result("elasticity", "How far?", pd.DataFrame({"n": [60]}), {"kernel": x @ x.T})
    assert list(cluster(only)["similarity"]) == ["kernel"]


def test_classes_called_otherwise_score_the_same():
    x, labels = blobs(distance=2.0)
    one = cluster(x @ x.T, labels=labels, method=ALL).to_frame()
    assert (one["accuracy"] < 1).all()
    pd.testing.assert_frame_equal(one, cluster(x @ x.T, labels=1 - labels, method=ALL).to_frame())
    pd.testing.assert_frame_equal(one, cluster(x @ x.T, labels=np.array([17, 4])[labels], method=ALL).to_frame())


def test_the_order_of_the_points_does_not_matter():
    x, labels = blobs(distance=4.0)
    order = np.random.default_rng(1).permutation(60)
    asked = {"similarity": ["relative_signed", "kernel"], "method": ALL}
    one = cluster(measured(x, labels), features={"pixels": x}, **asked)
    other = cluster(measured(x[order], labels[order]), features={"pixels": x[order]}, **asked)
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    for mine, theirs in zip(one["assignment"], other["assignment"], strict=True):
        moved = mine[order]
        assert_array_equal(moved == moved[0], theirs == theirs[0])  # numbered by first appearance


def test_the_matrix_is_symmetrized():
    signed = measured(*blobs(distance=3.0))["relative_signed"]
    one, other = (cluster(matrix, labels=blobs()[1], method=ALL) for matrix in (signed, signed.T))
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    assert_array_equal(one["assignment"], cluster((signed + signed.T) / 2, method=ALL)["assignment"])


def test_objectives_are_what_they_are_said_to_be():
    x, _ = blobs(distance=5.0)
    found = cluster(x @ x.T, method=ALL, features={"pixels": x})
    for (_, row), assignment in zip(found.to_frame().iterrows(), found["assignment"], strict=True):
        links = np.maximum(x @ x.T, 0) * (1 - np.eye(60))
        expected = 0.0
        for c in (0, 1):
            inside = assignment == c
            points = (x @ x.T)[inside] if (row["similarity"], row["method"]) == ("kernel", "kmeans") else x[inside]
            scatter = ((points - points.mean(0)) ** 2).sum()
            expected += (
                links[inside][:, ~inside].sum() / links[inside].sum() if row["method"] == "spectral" else scatter
            )
        assert row["objective"] == pytest.approx(expected)


def test_blocks_without_a_link_between_them_are_cut_for_nothing():
    matrix, labels = np.kron(np.eye(3), np.ones((5, 5))), np.repeat([0, 1, 2], 5)
    found = cluster(matrix, labels=labels, clusters=3, method=ALL)
    assert_allclose(found["accuracy"], 1)
    assert_allclose(found["objective"], 0, atol=1e-9)


def test_descriptions_are_clustered_beside_the_similarities():
    x, labels = blobs()
    found = cluster(x @ x.T, labels=labels, features={"pixels": x, "noise": np.random.default_rng(0).random((60, 4))})
    assert list(found["similarity"]) == ["kernel", "pixels", "noise"]
    assert list(found["method"]) == ["kernel_kmeans", "kmeans", "kmeans"]
    assert found["accuracy"][1] == 1 and found["accuracy"][2] < 0.8
    assert found["assignment"].shape == (3, 60)


def test_points_without_finite_similarities_are_left_out_and_named():
    x, labels = blobs()
    relative = measured(x, labels)["relative"].copy()
    relative[[3, 40]] = np.nan  # no residual at these: rows without an answer, columns with one
    relative[7, 9] = np.inf
    found = cluster(
        relative, similarity="relative", labels=labels, features={"pixels": np.where(x[:, :1] > 5, np.nan, x)}
    )
    assert_array_equal(found["n"][0], 57)
    assert_array_equal(found["left_out"][0], 3)
    assert_array_equal(np.flatnonzero(found["assignment"][0] == -1), [3, 7, 40])
    assert found.notes[0] == "relative: 3 of 60 points have non-finite numbers and are left out (3, 7, 40)."
    assert any(note.startswith("pixels: ") for note in found.notes) and found["n"][1] == 60 - (x[:, 0] > 5).sum()
    kept = np.setdiff1d(np.arange(60), [3, 7, 40])
    alone = cluster(relative[np.ix_(kept, kept)], similarity="relative", labels=labels[kept])
    assert_array_equal(found["assignment"][0][kept], alone["assignment"][0])


def test_a_matrix_that_is_no_kernel_is_repaired_and_it_is_said_by_how_much():
    x, labels = blobs(n=10)
    matrix = x @ x.T + np.diag(np.full(20, -30.0))
    lowest = np.linalg.eigvalsh(matrix)[0]
    for repair, done in (("clip", "They are set to 0."), ("shift", f"raised, with all others, by {-lowest:.3g}.")):
        found = cluster(matrix, labels=labels, repair=repair)
        assert found["accuracy"][0] == 1
        assert found.notes[0].startswith(
            f"kernel, kernel_kmeans: the matrix is no kernel. Its smallest eigenvalue is {lowest:.3g}"
        )
        assert found.notes[0].endswith(done)
    assert cluster(x @ x.T).notes == ()


def test_negative_similarities_are_no_links_and_it_is_said():
    x, labels = blobs()
    found = cluster(x @ x.T, method="spectral", labels=labels)
    share = np.mean(x @ x.T < 0)
    assert found.notes == (f"kernel, spectral: negative similarities ({share:.2g} of all) count as no link.",)


def test_without_labels_there_are_clusters_but_no_scores():
    x, labels = blobs()
    for found in (cluster(measured(x)), cluster(measured(x, np.full(60, -1)))):
        assert list(found["status"]) == ["no labels"] * 2 and np.isnan(found["accuracy"]).all()
        assert np.isfinite(found["objective"]).all() and (found["assignment"] >= 0).all()
        assert_array_equal(found["labelled"], 0)
    assert "labels" not in cluster(measured(x)).arrays
    one = cluster(measured(x, np.zeros(60, dtype=int)))
    assert list(one["status"]) == ["all labels are of one class"] * 2 and np.isnan(one["nmi"]).all()
    some = cluster(measured(x, np.where(np.arange(60) % 3, labels, -1)))
    assert_array_equal(some["labelled"], 40)
    assert_array_equal(cluster(measured(x, labels - 7 * (labels == 0)))["labels"], np.where(labels, 1, -1))
    assert_array_equal(some["n"], 60)
    assert some["accuracy"][1] == 1


def test_given_labels_go_before_those_of_the_result():
    x, labels = blobs()
    found = cluster(measured(x, np.zeros(60, dtype=int)), labels=labels, similarity="kernel")
    assert found["accuracy"][0] == 1
    assert_array_equal(found["labels"], labels)


@pytest.mark.parametrize(
    ("matrix", "clusters", "status"),
    [
        (np.ones((1, 1)), 2, "1 point for 2 clusters"),
        (np.ones((0, 0)), 2, "0 points for 2 clusters"),
        (np.full((4, 4), np.nan), 2, "0 points for 2 clusters"),
        (np.eye(3), 4, "3 points for 4 clusters"),
        (np.ones((6, 6)), 2, "all points are alike"),
        (np.zeros((6, 6)), 2, "all points are alike"),
        (np.ones((6, 6)) + 1e-15 * np.arange(6), 2, "all points are alike"),
        (np.kron(np.eye(2), np.ones((4, 4))), 3, "2 different points for 3 clusters"),
    ],
)
@pytest.mark.parametrize("method", ALL)
def test_too_few_points_are_a_status(matrix, clusters, status, method):
    found = cluster(matrix, labels=np.arange(len(matrix)) % 2, clusters=clusters, method=method)
    assert found["status"][0] == status
    assert np.isnan(found["accuracy"][0]) and np.isnan(found["objective"][0])
    assert (found["assignment"] == -1).all()


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_points_can_be_clustered(method, n):
    found = cluster(np.diag(np.arange(1.0, n + 1)) + 0.1, labels=np.arange(n) % 2, method=method)
    assert found["status"][0] == "measured" and set(found["assignment"][0]) == {0, 1}


def test_the_result_says_where_it_comes_from_and_can_be_kept(tmp_path):
    x, labels = blobs()
    found = cluster(measured(x, labels), features={"pixels": x}, seed=3)
    assert found.provenance["specimen"]["name"] == "affine" and found.provenance["seed"] == 3
    assert found.provenance["measured"]["settings"] == {"step": None} and found.provenance["measured"]["seed"] == 5
    assert found.provenance["settings"]["similarity"] == ["relative", "kernel"]
    assert list(found.to_frame()) == ["similarity", "method", *NAMES]
    again = Result.load(found.save(tmp_path))
    pd.testing.assert_frame_equal(found.to_frame(), again.to_frame())
    assert_array_equal(found["assignment"], again["assignment"])


def test_the_same_seed_gives_the_same_clusters():
    matrix = np.random.default_rng(0).normal(size=(40, 40))
    one, two = (cluster(matrix, method=ALL, clusters=4, seed=2) for _ in range(2))
    assert_array_equal(one["assignment"], two["assignment"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "kmean"}, r"no method 'kmean'. Did you mean 'kmeans'"),
        ({"method": []}, "method names none"),
        ({"similarity": []}, "similarity names none"),
        ({"similarity": ["kernel", "relative"]}, r"an array is one similarity; got the names \['kernel', 'relative'\]"),
        ({"clusters": 1}, "clusters must be a whole number of at least 2; got 1"),
        ({"clusters": 2.5}, "clusters must be a whole number of at least 2; got 2.5"),
        ({"restarts": 0}, "restarts must be a whole number of at least 1; got 0"),
        ({"repair": "clop"}, "no repair 'clop'. Did you mean 'clip'"),
        ({"labels": [0, 1]}, r"labels must be whole numbers, one for each of the 60 points; got int64 \(2,\)"),
        ({"labels": np.linspace(0, 1, 60)}, "labels must be whole numbers, one for each of the 60 points; got float64"),
        ({"features": {"pixels": np.ones((59, 2))}}, r"features 'pixels' are of shape \(59, 2\); expected \(60, d\)"),
        ({"features": np.ones((60, 2))}, "features must be arrays .* by name, .* got ndarray"),
    ],
)
def test_wrong_arguments_are_refused(options, words):
    x, _ = blobs()
    with pytest.raises(ArgumentError, match=words):
        cluster(x @ x.T, **options)


def test_images_that_move_one_another_are_of_one_class():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(30) % 2
    x = torch.randn(30, 1, 4, 4, generator=generator) * 0.3 + (2.0 * y - 1)[:, None, None, None]
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 1)))
    found = cluster(flexure.elasticity(model, (x, y))).to_frame()
    assert (found["accuracy"] == 1).all() and (found["n"] == 30).all()


def test_as_many_other_images_along_the_columns_are_no_similarity_of_points():
    generator = torch.Generator().manual_seed(0)
    x, others = torch.rand(2, 5, 1, 4, 4, generator=generator)
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 1)))
    with pytest.raises(ArgumentError, match="rows and columns are different images; measure without points="):
        cluster(flexure.elasticity(model, x, points=others))


def test_what_is_no_square_matrix_is_refused():
    with pytest.raises(ArgumentError, match=r"'kernel' is of shape \(3, 4\); expected a square matrix"):
        cluster(np.ones((3, 4)))
    with pytest.raises(ArgumentError, match=r"'kernel' is of shape \(3, 3, 2, 2\)"):
        cluster(np.ones((3, 3, 2, 2)))
    with pytest.raises(ArgumentError, match="'kernel' must hold real numbers; got complex128"):
        cluster(np.eye(3) * 1j)
    with pytest.raises(ArgumentError, match=r"no column or array 'kernal'. Did you mean 'kernel'"):
        cluster(measured(*blobs()), similarity="kernal")
