"""Attacks that are stopped between any two go on to the identical result; several processes agree with one."""

import json

import gauge
import numpy as np
import pandas as pd
import pytest
import torch
from probes.interrupted import Shelf, stopping
from processes import launched

import flexure
from flexure import Specimen

OPTIONS = {"eps": [0.003, 0.01], "steps": 2, "batch_size": 4}
JOBS = 2 * 4 + 1


def measured(**options):
    x, y = gauge.images(10).double(), torch.arange(10) % 3
    x[5, 0, 0, 0], y[6] = torch.nan, -1
    specimen = Specimen(gauge.seeded(gauge.ResidualNet).double(), bounds=(0, 1))
    return flexure.robustness(specimen, (x, y), **{**OPTIONS, **options})


@pytest.mark.parametrize("after", [1, 5, 8, 9, 10, 20, 27])
def test_a_stopped_measurement_goes_on_bit_for_bit(after):
    told: list = []
    whole = measured(progress=stopping(0, told))
    assert told == [(done, 3 * JOBS) for done in range(1, 3 * JOBS + 1)]
    shelf, before, behind = Shelf(), [], []
    with pytest.raises(KeyboardInterrupt):
        measured(checkpoint=shelf, progress=stopping(after, before))
    again = measured(checkpoint=shelf, progress=stopping(0, behind))
    assert before + behind == told
    pd.testing.assert_frame_equal(whole.to_frame(), again.to_frame(), check_exact=True)
    assert whole.notes == again.notes and whole.provenance["sanity"] == again.provenance["sanity"]
    assert all(np.array_equal(whole[name], again[name]) for name in whole.arrays)


@pytest.mark.parametrize("other", [{"seed": 1}, {"eps": [0.003]}, {"steps": 3}, {"starts": "clean"}])
def test_what_was_found_with_other_settings_is_not_used(other):
    shelf, before, behind = Shelf(), [], []
    with pytest.raises(KeyboardInterrupt):
        measured(checkpoint=shelf, progress=stopping(4, before))
    measured(checkpoint=shelf, progress=stopping(0, behind), **other)
    assert behind[0][0] == 1


def test_a_batch_of_which_nothing_can_be_used_is_passed_over():
    x, y = gauge.images(9).double(), torch.arange(9) % 3
    y[3:6] = -1
    specimen = Specimen(gauge.seeded(gauge.ResidualNet).double(), bounds=(0, 1))
    found = flexure.robustness(specimen, (x, y), eps=0.01, steps=1, batch_size=3)
    assert found["image_index"].tolist() == [0, 1, 2, 6, 7, 8] and (found["n"] == 6).all()


SCRIPT = """
import json, torch
import flexure
from flexure import distributed
from flexure.models import resolve

torch.set_num_threads(1)
x = torch.rand(13, 1, 28, 28, generator=torch.Generator().manual_seed(0))
y = torch.arange(13) % 10
x[5, 0, 0, 0], y[8] = torch.nan, -1
with distributed.start():
    found = flexure.robustness(resolve("small_cnn"), (x, y), eps=[0.01, 0.1], steps=2, batch_size=4, dtype="float64")
    if distributed.is_main():
        arrays = [found[name].tolist() for name in ("image_index", "image_label", "image_right")]
        print(json.dumps([distributed.world_size(), arrays, list(found.notes), found.provenance["passes"]]))
"""


@pytest.mark.slow
def test_three_processes_agree_with_one(tmp_path):
    told = [json.loads(launched(tmp_path, SCRIPT, world_size)[-1]) for world_size in (1, 3)]
    assert [told[0][0], told[1][0]] == [1, 3]
    assert told[1][1:] == told[0][1:]
