"""Agreement of clusters with classes: right numbers, right errors, names of no account."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from flexure.analysis.agreement import agreement


def partitions(n, classes, clusters, rng, likeness=0.6):
    """Classes, and clusters that follow them that often."""
    truth = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    return truth, np.where(rng.random(n) < likeness, truth % clusters, rng.integers(clusters, size=n))


def best_by_trying(truth, found):
    """Accuracy under the best matching: all are tried."""
    k = max(truth.max(), found.max()) + 1
    return max(np.mean(np.array(names)[found] == truth) for names in permutations(range(k)))


def test_classes_found_again_have_full_marks_without_error():
    truth = np.array([0, 0, 1, 1, 1, 2, 2])
    found = agreement(truth, (truth + 1) % 3)
    assert (found.accuracy, found.nmi, found.ari) == pytest.approx((1, 1, 1))
    assert (found.accuracy_se, found.nmi_se, found.ari_se) == pytest.approx((0, 0, 0), abs=1e-7)


def test_one_cluster_of_everything_tells_nothing():
    found = agreement(np.array([0, 0, 0, 1]), np.zeros(4, dtype=int))
    assert (found.accuracy, found.nmi, found.ari) == pytest.approx((0.75, 0, 0), abs=1e-12)


@pytest.mark.parametrize(("classes", "clusters"), [(2, 2), (4, 4), (2, 5), (5, 3)])
def test_scores_are_those_of_scikit_learn_and_of_all_matchings_tried(classes, clusters):
    truth, found = partitions(60, classes, clusters, np.random.default_rng(classes * clusters))
    scores = agreement(truth, found)
    assert scores.accuracy == pytest.approx(best_by_trying(truth, found))
    assert scores.nmi == pytest.approx(normalized_mutual_info_score(truth, found))
    assert scores.ari == pytest.approx(adjusted_rand_score(truth, found))


def test_errors_are_those_of_leaving_out_one_point_after_the_other():
    truth, found = partitions(40, 3, 3, np.random.default_rng(1))
    scores, rest = agreement(truth, found), ~np.eye(40, dtype=bool)
    for name, score in (("nmi", normalized_mutual_info_score), ("ari", adjusted_rand_score)):
        without = np.array([score(truth[keep], found[keep]) for keep in rest])
        expected = np.sqrt(39 / 40 * ((without - without.mean()) ** 2).sum())
        assert getattr(scores, f"{name}_se") == pytest.approx(expected)
    assert scores.accuracy_se == pytest.approx(np.sqrt(scores.accuracy * (1 - scores.accuracy) / 39))


def test_names_and_order_do_not_matter():
    rng = np.random.default_rng(2)
    truth, found = partitions(50, 3, 4, rng)
    order = rng.permutation(50)
    names = np.array([7, -3, 40, 11])
    one, other = agreement(truth, found), agreement(names[truth[order]], names[found[order]])
    assert list(vars(other).values()) == pytest.approx(list(vars(one).values()))


def test_errors_are_the_spread_over_samples_of_points():
    rng = np.random.default_rng(3)
    found = [vars(agreement(*partitions(150, 2, 2, rng))) for _ in range(400)]
    for name in ("accuracy", "nmi", "ari"):
        values, errors = (np.array([one[key] for one in found]) for key in (name, f"{name}_se"))
        assert errors.mean() == pytest.approx(values.std(ddof=1), rel=4 / np.sqrt(2 * 400))
    inside = np.mean([abs(one["accuracy"] - 0.8) < 1.96 * one["accuracy_se"] for one in found])
    assert abs(inside - 0.95) <= 4 * np.sqrt(0.95 * 0.05 / 400)


def test_chance_is_above_one_half_by_as_much_as_is_said():
    rng = np.random.default_rng(4)
    n, repeats = 400, 400
    truth = np.arange(n) % 2
    lucky = np.array([agreement(truth, rng.integers(2, size=n)).accuracy for _ in range(repeats)])
    assert lucky.mean() == pytest.approx(0.5 + 0.4 / np.sqrt(n), abs=4 * lucky.std() / np.sqrt(repeats))
