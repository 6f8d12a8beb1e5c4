"""Programs that several processes run together, as torchrun starts them."""

import os
import subprocess
import sys


def launched(tmp_path, program, world_size, *arguments):
    """Lines that so many processes print."""
    script = tmp_path / "program.py"
    script.write_text(program)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world_size)]
    launch = [sys.executable, *(torchrun if world_size > 1 else []), str(script), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    ended = subprocess.run(launch, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout.strip().splitlines()
