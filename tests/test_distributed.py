"""Several processes measure what one does: unpadded shards, one exchange, every image counted once."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

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
x[5, 0, 0, 0] = torch.nan
with distributed.start():
    found = flexure.sensitivity(model, x, batch_size=12, **json.loads(sys.argv[1]))
    if distributed.is_main():
        columns = [name for name in found.table if found.table[name].dtype.kind in "if"]
        table = found.to_frame()[columns].to_numpy(float).tolist()
        print(json.dumps([distributed.world_size(), table, found.provenance["passes"], list(found.notes)]))
"""


def measured(tmp_path, world_size, options):
    script = tmp_path / "measure.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, str(script)]
    if world_size > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launch = [*torchrun, "--nproc-per-node", str(world_size), str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    ended = subprocess.run(
        [*launch, json.dumps(options)], capture_output=True, text=True, env=environment, timeout=240, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.strip().splitlines()[-1])


CASES = {
    "float64": ({"dtype": "float64", "draws": 2}, 1e-10),
    "float32": ({"dtype": "float32"}, 1e-5),
    "precision": ({"dtype": "float64", "precision": 0.05, "max_draws": 8}, 1e-10),
    "groups": ({"dtype": "float64", "batch_norm": "batch", "match": "batch_rms", "group_size": 8}, 1e-10),
    "shuffled": (
        {"dtype": "float64", "shuffle": "input", "shuffle_batch_norm": "reestimate", "group_size": 8},
        1e-10,
    ),
    "median": ({"dtype": "float64", "reduction": "norm_median", "layers": ["0"]}, 1e-10),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", [name for name in CASES if name != "precision"])
def test_three_processes_agree_with_one(tmp_path, case):
    check(tmp_path, case, 3)


def test_two_processes_agree_with_one(tmp_path):
    check(tmp_path, "precision", 2)


def check(tmp_path, case, world_size):
    options, tolerance = CASES[case]
    alone, together = measured(tmp_path, 1, options), measured(tmp_path, world_size, options)
    assert (alone[0], together[0]) == (1, world_size)
    np.testing.assert_allclose(together[1], alone[1], rtol=tolerance)
    assert together[3] == alone[3]
    assert all(together[2][name] == rows for name, rows in alone[2].items() if name != "extra_clean")
