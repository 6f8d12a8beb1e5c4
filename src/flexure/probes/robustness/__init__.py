"""How often is the network still right when its images are attacked?"""

from flexure.probes.robustness.probe import robustness

__all__ = ["robustness"]
