"""Summaries that add up: merge two halves and get the whole, whatever the order."""

from flexure.stats.moments import Moments
from flexure.stats.norms import squared_norms

__all__ = ["Moments", "squared_norms"]
