"""A measurement that is stopped at any chunk goes on to the identical result, bit for bit."""

import pandas as pd
import pytest
import torch
from probes.interrupted import Shelf, stopping
from torch import nn

import flexure


@pytest.fixture
def x():
    return torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)).eval()


def fresh(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)).eval()


CASES = {
    "mean": {"draws": 2},
    "precision": {"precision": 0.02, "max_draws": 12},
    "median": {"reduction": "coordinate_median", "layers": ["0", "4"]},
    "groups": {"batch_norm": "batch", "match": "batch_mean", "group_size": 6},
    "split draws": {"draws": 7},
}


@pytest.mark.parametrize("after", [1, 2, 5, 9])
@pytest.mark.parametrize("case", CASES)
def test_a_stopped_measurement_goes_on_bit_for_bit(x, model, case, after):
    options = {**CASES[case], "initialized": [fresh(1)], "batch_size": 12}
    x = x.clone()
    x[3, 0, 0, 0] = torch.nan
    whole = flexure.sensitivity(model, x, **options)
    shelf = Shelf()
    try:
        flexure.sensitivity(model, x, checkpoint=shelf, progress=stopping(after), **options)
    except KeyboardInterrupt:
        assert shelf.saves
    again = flexure.sensitivity(model, x, checkpoint=shelf, **options)
    pd.testing.assert_frame_equal(whole.to_frame(), again.to_frame(), check_exact=True)
    assert whole.notes == again.notes
    assert whole.provenance["passes"] == again.provenance["passes"]


def test_what_was_done_is_not_done_again(x, model):
    shelf, calls = Shelf(), []
    with pytest.raises(KeyboardInterrupt):
        flexure.sensitivity(model, x, checkpoint=shelf, progress=stopping(4), batch_size=12)
    flexure.sensitivity(model, x, checkpoint=shelf, progress=lambda done, total: calls.append(done), batch_size=12)
    assert calls == [5, 6, 7, 8]


def test_sums_of_other_settings_are_not_used(x, model):
    shelf, calls = Shelf(), []
    with pytest.raises(KeyboardInterrupt):
        flexure.sensitivity(model, x, checkpoint=shelf, progress=stopping(4), batch_size=12)
    flexure.sensitivity(
        model, x, checkpoint=shelf, progress=lambda done, total: calls.append(done), batch_size=12, seed=1
    )
    assert calls[0] == 1


def test_sums_compared_with_other_networks_are_not_used(x, model):
    shelf = Shelf()
    with pytest.raises(KeyboardInterrupt):
        flexure.sensitivity(model, x, checkpoint=shelf, progress=stopping(10), batch_size=12, initialized=[fresh(1)])
    found = flexure.sensitivity(model, x, checkpoint=shelf, batch_size=12, initialized=[fresh(2)])
    expected = flexure.sensitivity(model, x, batch_size=12, initialized=[fresh(2)])
    pd.testing.assert_frame_equal(found.to_frame(), expected.to_frame(), check_exact=True)
