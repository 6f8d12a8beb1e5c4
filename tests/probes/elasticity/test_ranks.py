"""Several processes compute strips of one kernel, in memory and into one folder."""

import numpy as np
from processes import launched

SCRIPT = """
import sys, torch
import numpy as np
from torch import nn
import flexure
from flexure import distributed

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.last = nn.Parameter(torch.randn(16, 100)), nn.Linear(100, 2)

    def forward(self, x):
        return self.last((x.flatten(1) @ self.one).tanh())

torch.set_num_threads(1)
torch.manual_seed(0)
model = Net().double().eval()
x = torch.randn(400, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
folder = sys.argv[1]
found, strips = {}, []
with distributed.start():
    def tell(done, total):
        strips.append(total)

    asked = {
        "memory": (x[:90], {}),
        "all": (x[:60], {"output": "all"}),
        "sketch": (x[:90], {"sketch": 64}),
        "folder": (x, {"folder": f"{folder}/exact", "output": 0}),
        "both": (x, {"folder": f"{folder}/sketch", "sketch": 64, "output": 0}),
    }
    for name, (some, options) in asked.items():
        result = flexure.elasticity(model, some, memory_limit=1e6, progress=tell, **options)
        found[name] = result["kernel_outputs" if name == "all" else "kernel"]
        found[f"{name} own"] = result["own"]
    if distributed.is_main():
        np.savez(f"{folder}/found.npz", **found)
        print(distributed.world_size(), max(strips))
"""


def test_three_processes_give_the_kernels_of_one(tmp_path):
    found = {}
    for world_size in (1, 3):
        folder = tmp_path / str(world_size)
        folder.mkdir()
        told = launched(tmp_path, SCRIPT, world_size, str(folder))
        assert int(told[-1].split()[0]) == world_size and int(told[-1].split()[1]) > 2
        with np.load(folder / "found.npz") as file:
            found[world_size] = dict(file)
    for name, one in found[1].items():
        np.testing.assert_allclose(found[3][name], one, rtol=1e-10, atol=1e-13, err_msg=name)
    files = [sorted(file.name for file in (tmp_path / which).rglob("*.safetensors")) for which in ("1", "3")]
    assert files[0] == files[1] and len(files[0]) > 2
