"""What does a sweep cost beside its jobs? Jobs of a fixed length on two workers, against the work in them.

python benchmarks/sweep.py [--runs 200] [--seconds 2] [--workers 2] [--burn]
"""

import argparse
import tempfile
import time
from pathlib import Path

from flexure.fleet import sweep

TARGET = 0.03


def rest(fields: dict, folder: Path) -> None:
    """A job that takes its time and nothing else."""
    time.sleep(fields["seconds"])


def burn(fields: dict, folder: Path) -> None:
    """A job that keeps a core busy for so many seconds of its time."""
    end = time.process_time() + fields["seconds"]
    while time.process_time() < end:
        pass


def main() -> None:
    """One sweep, its wall time, and what the driver itself computed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--runs", type=int, default=200)
    asked.add_argument("--seconds", type=float, default=2.0)
    asked.add_argument("--workers", type=int, default=2)
    asked.add_argument("--burn", action="store_true", help="keep a core busy instead of sleeping")
    given = asked.parse_args()
    spec = {"name": "lengths", "base": {"seconds": given.seconds}, "grid": {"number": list(range(given.runs))}}
    work = "sweep:burn" if given.burn else "sweep:rest"
    with tempfile.TemporaryDirectory() as folder:
        began, computed = time.perf_counter(), time.process_time()
        done = sweep(spec, out=folder, workers=given.workers, work=work)
        wall, own = time.perf_counter() - began, time.process_time() - computed
    assert done.counts == {"done": given.runs}
    wanted = given.runs * given.seconds
    print(f"### {given.runs} jobs of {given.seconds:g} s ({work.partition(':')[2]}) on {given.workers} workers\n")
    print(f"work {wanted:.1f} s, wall {wall:.1f} s, the driver computed for {own:.2f} s")
    print(f"overhead {wall * given.workers / wanted - 1:.2%} (target: under {TARGET:.0%})")


if __name__ == "__main__":
    main()
