"""Summaries that add up: merge two halves and get the whole, whatever the order."""

from flexure.stats.moments import Moments
from flexure.stats.norms import squared_norms
from flexure.stats.ratios import Sensitivities, sensitivities

__all__ = ["Moments", "Sensitivities", "sensitivities", "squared_norms"]
