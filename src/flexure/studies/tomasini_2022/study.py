"""Tomasini et al. 2022: what is computed from the measured networks for each claim."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flexure import Run
from flexure.analysis.theory import path_theory
from flexure.studies import measured
from flexure.studies.claims import Finding

__all__ = ["JUDGES"]


def _correlation(quantity: str) -> Callable[[Sequence[Run], Mapping[str, Any]], Finding]:
    return lambda runs, settings: measured.correlation(runs, quantity)


def _fall_after(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([measured.fall(run) for run in runs])


def _fall_before(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([measured.fall(run, "_init") for run in runs])


def _shuffled(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([measured.shuffled_share(run) for run in runs])


def _filters(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([measured.pooling_gain(run) for run in runs])


def _over_training(quantity: str) -> Callable[[Sequence[Run], Mapping[str, Any]], Finding]:
    return lambda runs, settings: Finding.mean([measured.change(run, quantity) for run in measured.trained_here(runs)])


def _paths(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """Per network the median over its layers of log10 (measured / predicted by path counts), then over networks."""
    quantity, kernel, stride = settings["quantity"], settings["kernel"], settings["stride"]
    return Finding.mean([_off_paths(run, quantity, kernel, stride) for run in runs])


def _off_paths(run: Run, quantity: str, kernel: int, stride: int) -> float:
    depth = run.spec["net_options"]["depth"]
    theory = path_theory(
        run["sensitivity"], measured.images_of(run), kernels=[kernel] * depth, strides=[stride] * depth
    )
    return float(np.nanmedian(theory[f"{quantity}_log_ratio"]) / np.log(10))


JUDGES: Mapping[str, Callable[[Sequence[Run], Mapping[str, Any]], Finding]] = {
    "fig1_R": _correlation("R"),
    "fig1_D": _correlation("D"),
    "fig1_G": _correlation("G"),
    "fig1_R_corrupted": _correlation("R"),
    "training_D": _over_training("D"),
    "training_G": _over_training("G"),
    "fig3_after": _fall_after,
    "fig3_before": _fall_before,
    "fig3_shuffled": _shuffled,
    "fig4_filters": _filters,
    **{f"fig7_f{kernel}_s{stride}_{q}": _paths for kernel, stride in ((2, 2), (3, 1), (4, 2), (3, 2)) for q in "DG"},
    "fig8_R": _correlation("R"),
    "fig8_D": _correlation("D"),
    "fig8_G": _correlation("G"),
    "fig9_after": _fall_after,
    "fig9_shuffled": _shuffled,
}
