"""Several processes measure what one does: unpadded shards, one exchange, every image counted once."""

import json

import numpy as np
import pytest
from processes import launched

SCRIPT = """
import json, sys, torch
from torch import nn
import flexure
from flexure import distributed

torch.set_num_threads(1)
torch.manual_seed(0)
layers = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 3, 1), nn.Flatten(), nn.Linear(108, 4)
model = nn.Sequential(*layers).eval()
x = torch.rand(31, 1, 8, 8, generator=torch.Generator().manual_seed(0))
y = torch.arange(31) % 4
x[5, 0, 0, 0], y[8] = torch.nan, -1
with distributed.start():
    for probe, options in json.loads(sys.argv[1]):
        found = getattr(flexure, probe)(model, (x, y), **options)
        if distributed.is_main():
            numbers = found.to_frame().select_dtypes(["number", "bool"]).astype(float)
            told = {"world_size": distributed.world_size(), "columns": numbers.to_dict("list")}
            print(json.dumps(told | {"passes": found.provenance.get("passes", {}), "notes": found.notes}))
"""


def measured(tmp_path, world_size, asked):
    lines = launched(tmp_path, SCRIPT, world_size, json.dumps(asked))
    return [json.loads(line) for line in lines[-len(asked) :]]


CASES = {
    "float64": ({"dtype": "float64", "draws": 2}, 1e-10),
    "float32": ({"dtype": "float32"}, 1e-5),
    "precision": ({"dtype": "float64", "precision": 0.05, "max_draws": 8}, 1e-10),
    "groups": ({"dtype": "float64", "batch_norm": "batch", "match": "batch_rms", "group_size": 8}, 1e-10),
    "median": ({"dtype": "float64", "reduction": "norm_median", "layers": ["0"]}, 1e-10),
}
SHUFFLED = {"shuffle": "input", "shuffle_draws": 3}
OF_FOUR = {
    "shuffled": ("sensitivity", {**SHUFFLED, "initialized": 2}),
    "shuffled for each output": ("sensitivity", {**SHUFFLED, "shuffle_scope": "per_output", "draws": 2}),
    "reestimated": ("sensitivity", {**SHUFFLED, "shuffle_batch_norm": "reestimate", "group_size": 8}),
    "phase diagram": ("phase_diagram", {"temperatures": 3, "cutoffs": [2, 3], "draws": 2}),
    "accuracy": ("accuracy", {"corruption": [0, 3], "draws": 2}),
    "filters": ("filters", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name in CASES if name != "precision"])
def test_three_processes_agree_with_one(tmp_path, case):
    check(tmp_path, case, 3)


def test_two_processes_agree_with_one(tmp_path):
    check(tmp_path, "precision", 2)


def test_four_processes_agree_with_one_in_every_column_of_every_probe(tmp_path):
    asked = [(probe, options | rows(probe) | {"dtype": "float64"}) for probe, options in OF_FOUR.values()]
    assert_agree(asked, measured(tmp_path, 1, asked), measured(tmp_path, 4, asked), 4, 1e-10)


def rows(probe):
    return {} if probe == "filters" else {"batch_size": 12}


def check(tmp_path, case, world_size):
    options, tolerance = CASES[case]
    asked = [("sensitivity", {"batch_size": 12, **options})]
    assert_agree(asked, measured(tmp_path, 1, asked), measured(tmp_path, world_size, asked), world_size, tolerance)


def assert_agree(asked, of_one, of_many, world_size, tolerance):
    for what, one, many in zip(asked, of_one, of_many, strict=True):
        assert (one["world_size"], many["world_size"]) == (1, world_size)
        assert one["columns"].keys() == many["columns"].keys()
        for name, values in one["columns"].items():
            np.testing.assert_allclose(many["columns"][name], values, rtol=tolerance, err_msg=f"{name} of {what}")
        assert many["notes"] == one["notes"]
        assert all(many["passes"][name] == rows for name, rows in one["passes"].items() if name != "extra_clean")


MOODY = """
import sys, torch
from torch import nn
import flexure
from flexure import distributed
from flexure.runs.examine import IncompleteRunError

class Moody(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.linear = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Linear(108, 4)

    def forward(self, x):
        x = self.conv(x)
        return self.linear((self.relu(x) if x.abs().max() < 5 else x).flatten(1))

torch.manual_seed(0)
x, y = torch.rand(200, 1, 8, 8), torch.arange(200) % 4
x[103] = 60
"""

FAILING = f"""{MOODY}
with distributed.start():
    try:
        flexure.examine(Moody().eval(), (x, y), probes=["sensitivity", "accuracy"], out=sys.argv[1])
    except IncompleteRunError as wrong:
        results = wrong.run.results
        sys.stdout.write(f"{{wrong}} {{sorted(results)}} {{results['accuracy'].table['n'][0]}}\\n")
"""

WATCHED = f"""{MOODY}
with distributed.start():
    watch = flexure.Monitor("sensitivity", x, every=1)
    net = Moody().eval()
    for step in range(2):
        watch(step, net)
    sys.stdout.write(f"{{watch.result().to_frame()['status'].tolist()}}\\n")
"""


def test_a_probe_that_fails_in_one_process_fails_in_all_and_the_next_is_asked(tmp_path):
    told = [launched(tmp_path, FAILING, world_size, str(tmp_path / f"of {world_size}")) for world_size in (1, 2)]
    assert told[0] == [
        "1 of 2 probes failed. sensitivity: op 'relu' was called on the first images, but not on all; nothing to "
        "compare. What was measured (accuracy) is kept. ['accuracy'] 200"
    ]
    assert told[1] == told[0] * 2


def test_a_step_that_fails_in_one_process_is_told_in_all_and_the_next_is_measured(tmp_path):
    words = "SpecimenError: op 'relu' was called on the first images, but not on all; nothing to compare."
    assert launched(tmp_path, WATCHED, 2, "") == [str([words] * 2)] * 2
