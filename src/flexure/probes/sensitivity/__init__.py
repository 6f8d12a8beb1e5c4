"""What did each layer become insensitive to: smooth deformations, or noise of the same size?"""

from flexure.probes.sensitivity.probe import sensitivity

__all__ = ["sensitivity"]
