"""A driver in a process of its own, to be killed: ``python driver.py SPEC OUT [WORK [RAY]]``; and how to start one."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from flexure.fleet import sweep

ROOT = Path(__file__).resolve().parents[2]


def start(tmp_path: Path, spec: dict, *more: str) -> subprocess.Popen:
    """Sweep ``spec`` into ``out`` in another process."""
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [sys.executable, __file__, str(tmp_path / "spec.json"), str(tmp_path / "out"), *more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def until(seen: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something that has to come."""
    end = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.002)


if __name__ == "__main__":
    spec, out, *given = sys.argv[1:]
    work, ray = [*given, None, None][:2]
    sweep(json.loads(Path(spec).read_text()), out=out, workers=2, work=work, ray=ray)
