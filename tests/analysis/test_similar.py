"""Two similarities of the same images beside each other."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import flexure
from flexure.analysis.similar import against_similarity
from flexure.errors import ArgumentError
from flexure.results import Result


def result(index=None, **arrays):
    told = {} if index is None else {"index": np.asarray(index)}
    return Result("elasticity", "?", pd.DataFrame({"layer": ["output"]}), arrays | told)


def values(n=30, seed=0):
    found = np.random.default_rng(seed).normal(size=(n, n))
    return found + found.T


def test_a_rising_line_has_correlation_one_and_a_falling_one_minus_one():
    one = values()
    found = against_similarity(result(cosine=one), result(cosine=2 * one + 1, kernel=-one))
    assert found["pearson"].tolist() == pytest.approx([1, -1]) and found["spearman"].tolist() == pytest.approx([1, -1])
    assert found["pearson_se"].tolist() == pytest.approx([0, 0], abs=1e-9) and found["pairs"].tolist() == [870, 870]


def test_what_has_nothing_in_common_is_within_four_errors_of_zero():
    found = (
        against_similarity(result(cosine=values()), result(kernel=values(seed=1)), others="kernel").to_frame().iloc[0]
    )
    assert abs(found["pearson"]) <= 4 * found["pearson_se"] and found["pearson_se"] > 0.01


def test_patterns_go_with_the_kernel_of_the_same_network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 200), nn.ReLU(), nn.Linear(200, 1))
    x = torch.randn(25, 1, 2, 2)
    found = against_similarity(flexure.activation_patterns(network, x), flexure.elasticity(network, x))
    assert found["spearman"][0] > 0.8


def test_other_images_are_refused():
    with pytest.raises(ArgumentError, match="different images, or in another order"):
        against_similarity(result([0, 1, 2], cosine=np.eye(3)), result([0, 2, 1], kernel=np.eye(3)), others="kernel")
    with pytest.raises(ArgumentError, match=r"'cosine' is of shape \(3, 3\), 'kernel' of \(3, 2\)"):
        against_similarity(result(cosine=np.eye(3)), result(kernel=np.ones((3, 2))), others="kernel")
    same = against_similarity(result(cosine=np.ones((4, 4))), result(kernel=values(4)), others="kernel")
    assert same["status"][0] == "one of the similarities is the same for all pairs"
