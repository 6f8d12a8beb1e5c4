"""How often is the network right, and at what loss, on clean and on noisy images?"""

from flexure.probes.accuracy.probe import accuracy
from flexure.probes.accuracy.settings import AccuracySettings

__all__ = ["AccuracySettings", "accuracy"]
