"""Summaries that add up: merge two halves and get the whole, whatever the order."""

from flexure.stats.medians import around_median
from flexure.stats.moments import Moments, standard_error
from flexure.stats.norms import block_norms, n_blocks, squared_norms
from flexure.stats.pairs import Pairs
from flexure.stats.proportions import Proportions
from flexure.stats.ratios import Sensitivities, sensitivities

__all__ = [
    "Moments",
    "Pairs",
    "Proportions",
    "Sensitivities",
    "around_median",
    "block_norms",
    "n_blocks",
    "sensitivities",
    "squared_norms",
    "standard_error",
]
