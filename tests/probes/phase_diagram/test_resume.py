"""A phase diagram that is stopped after any pass goes on to the identical result; several processes agree with one."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from probes.interrupted import Shelf, stopping
from processes import launched
from torch import nn

import flexure

OPTIONS = {"temperatures": 3, "cutoffs": (2, 3), "batch_size": 8, "draws": 2}


@pytest.fixture
def x():
    x = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x[5, 0, 0, 0] = torch.nan
    return x


@pytest.fixture
def model():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)).eval()


@pytest.mark.parametrize("after", [1, 7, 12, 13, 30, 32])
def test_a_stopped_measurement_goes_on_bit_for_bit(x, model, after):
    told: list = []
    whole = flexure.phase_diagram(model, x, progress=stopping(0, told), **OPTIONS)
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    shelf, before, behind = Shelf(), [], []
    with pytest.raises(KeyboardInterrupt):
        flexure.phase_diagram(model, x, checkpoint=shelf, progress=stopping(after, before), **OPTIONS)
    again = flexure.phase_diagram(model, x, checkpoint=shelf, progress=stopping(0, behind), **OPTIONS)
    assert before + behind == told
    pd.testing.assert_frame_equal(whole.to_frame(), again.to_frame(), check_exact=True)
    assert whole.notes == again.notes and len(whole.notes) == 1
    assert whole.provenance["passes"] == again.provenance["passes"] == {"rows": 9 * (1 + 2 * 2 * 6)}


@pytest.mark.parametrize("other", [{"seed": 1}, {"cutoffs": (2, 4)}, {"interpolation": "nearest"}])
def test_sums_of_other_settings_are_not_used(x, model, other):
    shelf, before, behind = Shelf(), [], []
    with pytest.raises(KeyboardInterrupt):
        flexure.phase_diagram(model, x, checkpoint=shelf, progress=stopping(4, before), **OPTIONS)
    flexure.phase_diagram(model, x, checkpoint=shelf, progress=stopping(0, behind), **{**OPTIONS, **other})
    assert behind[0][0] == 1


def test_an_error_in_the_middle_leaves_the_specimen_as_it_was(x, model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    with pytest.raises(KeyboardInterrupt):
        flexure.phase_diagram(model, x, progress=stopping(2, []), **OPTIONS)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


SCRIPT = """
import json, torch
from torch import nn
import flexure
from flexure import distributed

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)).eval()
x = torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(0))
x[5, 0, 0, 0] = torch.nan
with distributed.start():
    found = flexure.phase_diagram(model, x, batch_size=6, temperatures=3, cutoffs=(2, 3), dtype="float64", draws=2)
    if distributed.is_main():
        columns = ["D", "D_se", "G", "G_se", "R", "R_se", "folding", "folding_se", "n"]
        table = found.to_frame()[columns].to_numpy(float).tolist()
        print(json.dumps([distributed.world_size(), table, found.provenance["passes"], list(found.notes)]))
"""


def test_two_processes_agree_with_one(tmp_path):
    alone, together = (json.loads(launched(tmp_path, SCRIPT, world_size)[-1]) for world_size in (1, 2))
    assert (alone[0], together[0]) == (1, 2)
    np.testing.assert_allclose(together[1], alone[1], rtol=1e-10)
    assert together[2:] == alone[2:]
