"""While it learns: probes behind the callback protocol of our loop, and in three lines of anyone's."""

from flexure.monitors.moments import Moments, moments
from flexure.monitors.monitor import Monitor
from flexure.monitors.watch import Watch
from flexure.monitors.written import gather

__all__ = ["Moments", "Monitor", "Watch", "gather", "moments"]
