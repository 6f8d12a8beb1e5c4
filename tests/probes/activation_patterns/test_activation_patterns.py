"""Patterns of units: counted by hand, of random layers in expectation, with a row for every kink."""

import math

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flexure
from flexure.errors import ArgumentError, DataError
from flexure.probes.activation_patterns import patterns
from flexure.probes.activation_patterns.patterns import _packed, _unpacked


def images(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), 1, 1, -1)


X = images([1, 2, -1, -1], [1, -2, -1, 3], [-1, -1, -1, -1], [1, 1, 1, -2])


def only_relu(*after):
    return nn.Sequential(nn.Flatten(), nn.ReLU(), *after)


class Then(nn.Module):
    """A network that does this to flattened images; without a parameter."""

    def __init__(self, then, **modules):
        super().__init__()
        self.then = then
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.then(self, x.flatten(1))


def row_of(result, layer="output"):
    return result.to_frame().set_index("layer").loc[layer]


def test_overlaps_are_those_counted_by_hand():
    found = flexure.activation_patterns(only_relu(), (X, torch.tensor([0, 0, 1, 1])))
    assert found["cosine"][0, 1] == pytest.approx(1 / 2)  # two active units each, one of them on both
    assert found["cosine"][0, 3] == pytest.approx(2 / math.sqrt(6))
    assert np.isnan(found["cosine"][2]).all()  # no unit is active
    assert np.allclose(found["agreement"] * 4, [[4, 2, 2, 3], [2, 4, 2, 1], [2, 2, 4, 1], [3, 1, 1, 4]])
    row = row_of(found)
    assert row["active"] == pytest.approx((2 + 2 + 0 + 3) / 16) and (row["never_active"], row["always_active"]) == (
        0,
        0,
    )
    assert row["same_class"] == pytest.approx(0.5)  # of class 1, one image has no cosine
    assert row["agreement_mean"] == pytest.approx((2 + 2 + 3 + 2 + 1 + 1) / 6 / 4)


def test_a_random_layer_agrees_as_the_angle_says():
    angle, width = 1.0, 200_000
    x = images([1, 0, 0], [math.cos(angle), math.sin(angle), 0])
    torch.manual_seed(0)
    layer = nn.Linear(3, width, bias=False)
    nn.init.normal_(layer.weight)
    found = flexure.activation_patterns(nn.Sequential(nn.Flatten(), layer, nn.ReLU()), x)
    expected = 1 - angle / math.pi
    assert abs(found["agreement"][0, 1] - expected) <= 4 * math.sqrt(expected * (1 - expected) / width)
    assert abs(found["cosine"][0, 1] - expected) <= 4 * math.sqrt(2 * expected * (1 - expected) / width)


def test_the_batch_size_and_the_blocks_do_not_matter(monkeypatch):
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images(10)
    whole = flexure.activation_patterns(model, x, dtype="float64")
    monkeypatch.setattr(patterns, "_NUMBERS", 100)
    parts = flexure.activation_patterns(model, x, batch_size=3, dtype="float64")
    np.testing.assert_array_equal(whole["cosine"], parts["cosine"])
    assert whole.to_frame().equals(parts.to_frame())


def test_all_units_together_are_those_of_the_ops():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images(6)
    found = flexure.activation_patterns(model, x, per_layer=True)
    table = found.to_frame()
    ops = table[table["n"] > 0].iloc[:-1]
    total = sum(row["units"] * found[f"agreement/{row['layer']}"] for _, row in ops.iterrows())
    assert np.allclose(found["agreement"], total / ops["units"].sum())
    assert row_of(found)["units"] == ops["units"].sum() and len(ops) >= 2


KINKS = {
    "leaky": (nn.LeakyReLU(0.1), [2, 2, 0, 3]),
    "prelu": (nn.PReLU(), [2, 2, 0, 3]),
    "selu": (nn.SELU(), [2, 2, 0, 3]),
    "relu6": (nn.ReLU6(), [2, 2, 0, 3]),
    "hardtanh": (nn.Hardtanh(-1.5, 1.5), [3, 2, 4, 3]),
    "hardsigmoid": (nn.Hardsigmoid(), [4, 3, 4, 4]),
    "softshrink": (nn.Softshrink(1.5), [1, 2, 0, 1]),
    "threshold": (nn.Threshold(1.5, 0.0), [1, 1, 0, 0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_unit_is_active_where_its_slope_is(name):
    module, expected = KINKS[name]
    found = flexure.activation_patterns(nn.Sequential(nn.Flatten(), module), X)
    assert row_of(found)["active"] == pytest.approx(sum(expected) / 16)


def test_calls_are_seen_as_modules_are_and_a_module_used_twice_has_two_rows():
    relu = nn.ReLU()
    model = Then(lambda net, x: F.relu(-net.relu(net.relu(x) - 1)), relu=relu)
    found = flexure.activation_patterns(model, X).to_frame()
    assert found["layer"].tolist() == ["relu", "relu_1", "relu_2", "output"]


REASONS = {
    "picks one of several: no unit is on or off": lambda x: F.max_pool1d(x[:, None], 2).flatten(1),
    "its limits are arguments that are not seen: use the module": lambda x: F.hardtanh(x),
    "three pieces, one of them curved: not on or off": lambda x: F.hardswish(x),
    "neither side is off": lambda x: x.abs(),
    "first dimension is 1, not the batch": lambda x: x + F.relu(x[:1] * 0 + 1).sum(),
}


@pytest.mark.parametrize("reason", REASONS)
def test_an_op_with_a_kink_and_no_pattern_has_a_row_that_says_why(reason):
    found = flexure.activation_patterns(Then(lambda net, x: REASONS[reason](x)), X).to_frame()
    assert reason in found["status"].tolist()
    assert found.iloc[-1]["status"] == "no op with a pattern" and found.iloc[-1]["units"] == 0


def test_an_image_without_numbers_is_named_and_the_others_are_kept():
    model = Then(lambda net, x: torch.tanh(F.relu(x / (x.sum(1, keepdim=True) - 1)).nan_to_num(0, 0, 0)))
    found = flexure.activation_patterns(model, images([1, 2, -1, -3], [1, -2, -1, 3], [-1, -1, -1, -1], [1, 1, 1, -2]))
    assert row_of(found)["status"] == "non-finite at image 1 and 1 more" and row_of(found)["n"] == 2
    assert np.isnan(found["agreement"][1]).all() and np.isfinite(found["agreement"][0, 2])


def test_a_network_without_kinks_says_so():
    found = flexure.activation_patterns(nn.Sequential(nn.Flatten(), nn.Tanh()), X)
    assert found.notes == ("Sequential has no op with a kink, so no unit is on or off.",)
    assert row_of(found)["status"] == "no op with a pattern" and np.isnan(found["cosine"]).all()


def test_bytes_hold_eight_units_each_and_give_them_back():
    for width in (1, 7, 8, 9, 64):
        pattern = torch.rand(5, width) > 0.5
        assert _packed(pattern).shape == (5, (width + 7) // 8)
        assert torch.equal(_unpacked(_packed(pattern))[:, :width].bool(), pattern)


def test_more_memory_than_there_is_is_refused_with_what_fits():
    wide = Then(lambda net, x: F.relu(x.repeat(1, 600_000)).sum(1, keepdim=True))
    with pytest.raises(ArgumentError, match=r"take 1.2e\+06 bytes, and memory_limit is 1e\+06\. Take at most 3 images"):
        flexure.activation_patterns(wide, X, memory_limit=1e6)


def test_wrong_options_and_too_few_images_are_refused():
    with pytest.raises(ArgumentError, match="batch_size must be a whole number of at least 1; got 0"):
        flexure.activation_patterns(only_relu(), X, batch_size=0)
    with pytest.raises(ArgumentError, match="memory_limit is in bytes and at least 1e6; got 10"):
        flexure.activation_patterns(only_relu(), X, memory_limit=10)
    with pytest.raises(DataError, match="1 usable images"):
        flexure.activation_patterns(only_relu(), X[:1])
