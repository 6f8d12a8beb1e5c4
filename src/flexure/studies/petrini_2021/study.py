"""Petrini et al. 2021: what is computed from the measured networks for each claim."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import linregress

from flexure import Run
from flexure.studies import measured
from flexure.studies.claims import Finding

__all__ = ["JUDGES"]


def _before(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([float(np.log10(measured.at_output(run, "R_init"))) for run in measured.trained_here(runs)])


def _over_training(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([measured.change(run, "R") for run in measured.trained_here(runs)])


def _correlation(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return measured.correlation(runs, "R")


def _exponent(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return measured.correlation(runs, "R", "exponent")


def _over_sizes(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """One slope of log R against the log of the training set's size for each seed of each network."""
    series: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for run in runs:
        point = np.log10(run.spec["limit"]), np.log10(measured.at_output(run, "R"))
        series.setdefault((run.spec["net"], run.spec["seed"]), []).append(point)
    return Finding.mean([float(linregress(*np.array(points).T).slope) for points in series.values()])


JUDGES: Mapping[str, Callable[[Sequence[Run], Mapping[str, Any]], Finding]] = {
    "before_training": _before,
    "training": _over_training,
    "error_correlation": _correlation,
    "error_exponent": _exponent,
    "training_set_size": _over_sizes,
}
