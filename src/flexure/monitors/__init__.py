"""While it learns: probes behind the callback protocol of our loop, and in three lines of anyone's."""

from flexure.monitors.gathered import gather
from flexure.monitors.lightning import LightningCallback
from flexure.monitors.moments import Moments, moments
from flexure.monitors.monitor import Monitor
from flexure.monitors.named import Accuracy, Elasticity, Filters, Fuzziness, Sensitivity
from flexure.monitors.trajectories import Trajectories
from flexure.monitors.watch import Watch
from flexure.monitors.written import read_steps

__all__ = [
    "Accuracy", "Elasticity", "Filters", "Fuzziness", "LightningCallback", "Moments", "Monitor", "Sensitivity",
    "Trajectories", "Watch", "gather", "moments", "read_steps",
]  # fmt: skip
