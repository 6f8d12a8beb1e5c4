"""Many runs: the jobs of a sweep, whoever does them, and what lies in their folder."""

from flexure.fleet.driver import sweep
from flexure.fleet.folder import Sweep, read_sweep
from flexure.fleet.plan import SweepFile

__all__ = ["Sweep", "SweepFile", "read_sweep", "sweep"]
