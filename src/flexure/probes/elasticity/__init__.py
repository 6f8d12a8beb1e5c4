"""How far does training on one image move the prediction on another?"""

from flexure.probes.elasticity.probe import elasticity

__all__ = ["elasticity"]
