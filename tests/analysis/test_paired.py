"""Two networks under the same attacks: the same images, McNemar's test; the same seeds, Student's interval."""

import gauge
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import flexure
from flexure import Specimen
from flexure.analysis.paired import paired
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

CELLS = [("clean", "linf", 0.0), ("pgd", "linf", 0.1), ("deepfool", "l2", np.nan)]


def result(right, norm=1.0, seed=0, index=None, labels=None):
    """Outcomes ``(3, images)`` as a result of robustness."""
    right = np.asarray(right)
    table = pd.DataFrame(CELLS, columns=["attack", "norm", "eps"])
    table["robust_accuracy"] = (right == 1).mean(1)
    table["median_norm"] = [np.nan, np.nan, norm]
    table["n"], table["status"] = right.shape[1], MEASURED
    arrays = {
        "image_index": np.arange(right.shape[1]) if index is None else np.asarray(index),
        "image_label": np.zeros(right.shape[1], int) if labels is None else labels,
        "image_right": right,
    }
    return Result("robustness", "?", table, arrays=arrays, units={"median_norm": "l2"}, provenance={"seed": seed})


def coins(share, seed, n=100):
    return (np.random.default_rng(seed).uniform(size=(3, n)) < share).astype(int)


def test_two_networks_are_compared_image_by_image():
    one, two = coins(0.5, 0), coins(0.7, 1)
    found = paired(result(one), result(two))
    table = found.to_frame()
    assert table["attack"].tolist() == ["clean", "pgd", "deepfool"] and (table["n"] == 100).all()
    for row in range(3):
        lost, won = int(((one == 1) & (two == 0))[row].sum()), int(((two == 1) & (one == 0))[row].sum())
        assert (table["only_first"][row], table["only_second"][row]) == (lost, won)
        assert table["difference"][row] == pytest.approx((won - lost) / 100)
        assert table["p_value"][row] == pytest.approx(stats.binomtest(won, won + lost).pvalue)
        gap = two[row] - one[row]
        assert table["difference_se"][row] == pytest.approx(gap.std(ddof=1) / 10)
        assert table["low"][row] < table["difference"][row] < table["high"][row]
    assert found.units["difference"] == "" and found.provenance["settings"]["by"] == "image"


def test_a_network_beside_itself_does_not_differ():
    table = paired(result(coins(0.5, 0)), result(coins(0.5, 0))).to_frame()
    assert (table["difference"] == 0).all() and (table["p_value"] == 1).all()
    assert (table["low"] < 0).all() and (table["high"] > 0).all()


def test_only_images_that_both_have_finite_outputs_on_are_compared():
    one, two = coins(0.5, 0, 10), coins(0.7, 1, 10)
    one[1, 3] = -1
    found = paired(result(one), result(two[:, 2:], index=range(2, 10))).to_frame()
    assert found["n"].tolist() == [8, 7, 8]
    assert found["first"][0] == one[0, 2:].mean() and found["second"][1] == np.delete(two[1], [0, 1, 3]).mean()


def test_series_are_compared_seed_by_seed():
    ones, twos = (
        [result(coins(share, seed + add), seed=seed) for seed in range(6)] for share, add in ((0.5, 0), (0.6, 50))
    )
    found = paired(ones, twos)
    gaps = found["differences"]
    assert gaps.shape == (3, 6) and (found["n"] == 6).all()
    for row in range(3):
        test = stats.ttest_1samp(gaps[row], 0).confidence_interval()
        assert found["low"][row] == pytest.approx(test.low) and found["high"][row] == pytest.approx(test.high)
        assert found["better"][row] == (gaps[row] > 0).sum() and found["worse"][row] == (gaps[row] < 0).sum()
    assert found.provenance["seed"] == list(range(6)) and found.units["n"] == "seeds"


def test_series_may_be_compared_by_another_quantity():
    ones, twos = ([result(coins(0.5, k), norm=size + k) for k in range(3)] for size in (1.0, 1.5))
    found = paired(ones, twos, quantity="median_norm")
    assert found["difference"][2] == pytest.approx(0.5) and found["n"].tolist() == [0, 0, 3]
    assert found["status"].tolist() == ["measured in no seed"] * 2 + [MEASURED]


def test_of_a_single_seed_there_is_no_interval():
    found = paired([result(coins(0.5, 0))], [result(coins(0.6, 1))])
    assert np.isnan(found["low"]).all() and (found["n"] == 1).all()


@pytest.mark.parametrize(
    ("one", "two", "options", "words"),
    [
        (gauge.result(), gauge.result(), {}, "compares results of robustness; got one of sensitivity"),
        ([result(coins(0.5, 0))], [], {}, "series of one length; got 1 and 0"),
        (result(coins(0.5, 0)), [result(coins(0.5, 0))], {}, "series of one length; got 1 and 1"),
        (result(coins(0.5, 0)), result(coins(0.5, 0)), {"quantity": "n"}, "n is compared seed by seed only"),
        ([result(coins(0.5, 0))], [result(coins(0.5, 0))], {"quantity": "accuracy"}, "no quantity 'accuracy'"),
        (result(coins(0.5, 0, 5)), result(coins(0.5, 0, 5), index=range(5, 10)), {}, "on other images .0 indices"),
        (result(coins(0.5, 0, 5)), result(coins(0.5, 0, 5), labels=np.ones(5, int)), {}, "on other images .5 indices"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(one, two, options, words):
    with pytest.raises(ArgumentError, match=words):
        paired(one, two, **options)


def test_results_of_the_probe_are_compared_at_the_budgets_they_share(tmp_path):
    x = gauge.images(30).double()
    nets = [Specimen(gauge.seeded(gauge.ResidualNet, seed).double(), bounds=(0, 1)) for seed in (0, 1)]
    y = torch.arange(30) % 10
    one, two = (
        flexure.robustness(net, (x, y), eps=eps, steps=2)
        for net, eps in zip(nets, ([0.01, 0.1], [0.001, 0.01]), strict=True)
    )
    found = paired(one, two)
    assert found["eps"].tolist() == [0.0] + [0.01] * 5
    assert Result.load(found.save(tmp_path)).to_frame().equals(found.to_frame())
    with pytest.raises(ArgumentError, match="no attack and eps that all results have"):
        paired(one, flexure.robustness(nets[1], (x, y), eps=0.5, steps=1))
