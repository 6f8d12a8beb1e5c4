"""Shen, Chen & Wang 2020: what is computed from the measured networks for each claim."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

import flexure
from flexure import Run
from flexure.studies import measured
from flexure.studies.claims import Finding, Study

__all__ = ["JUDGES"]

_PLAIN = "none"

Judge = Callable[[Sequence[Run], Mapping[str, Any]], Finding]


def _center(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """Per network the mean over its convolutions of how much further weights are from the center than they were."""
    tables = [_weights(run, settings) for run in _of_kind(runs, _PLAIN)]
    changes = [table["center_distance_raw"] - table["center_distance_raw_before"] for table in tables]
    return Finding.mean([float(change.mean()) for change in changes])


def _shuffled(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """Per network the mean over its convolutions of fuzziness less what shuffled displacements lead to."""
    tables = [_weights(run, settings, shuffle_draws=settings["shuffles"]) for run in _of_kind(runs, _PLAIN)]
    return Finding.mean([float(table["excess"].mean()) for table in tables])


def _trajectory(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """Per network the mean over its convolutions of the share of weights near an end less that of random walks."""
    tables = [run["monitor_trajectories"].to_frame() for run in _of_kind(runs, _PLAIN)]
    return Finding.mean([float((table["near_end"] - table["near_end_null"]).mean()) for table in tables])


def _attacked(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """Seed by seed the robust accuracy of one training less that of another, as it was measured after the training."""
    return _against(runs, settings, lambda run: _robust(run["robustness"], settings["attack"]))


def _autoattacked(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """The same for an attack of the toolbox, on few images and the first seeds."""

    def robust(run: Run) -> float:
        images = measured.images_of(run, limit=settings["images"])
        eps = run.spec["probes"]["robustness"]["eps"]
        found = flexure.robustness(measured.network_of(run), images, eps=eps, attacks=[settings["attack"]], steps=10)
        return _robust(found, settings["attack"])

    few = [run for run in runs if run.spec["seed"] < settings["seeds"]]
    return _against(few, settings, robust)


def _against(runs: Sequence[Run], settings: Mapping[str, Any], value: Callable[[Run], float]) -> Finding:
    ours, theirs = (_of_kind(runs, settings[name]) for name in ("kind", "against"))
    other = {run.spec["seed"]: run for run in theirs}
    return Finding.mean([value(run) - value(other[run.spec["seed"]]) for run in ours])


def _robust(found: flexure.Result, attack: str) -> float:
    table = found.to_frame()
    return float(table.loc[table["attack"] == attack, "robust_accuracy"].iloc[-1])


def _weights(run: Run, settings: Mapping[str, Any], **options: Any) -> pd.DataFrame:
    """What fuzziness says of the weights after the training beside those before it."""
    before = measured.weights_before(run)
    now = flexure.resolve(run.spec["net"], weights=before.with_name("last.safetensors"))
    return flexure.fuzziness(now, before=before, interval=settings["interval"], **options).to_frame()


def _of_kind(runs: Sequence[Run], kind: str) -> list[Run]:
    """The networks trained with this kind of penalty."""
    return [run for run in runs if _kind(run) == kind]


def _kind(run: Run) -> str:
    penalty = run.spec.get("penalty")
    return penalty["minmax"]["kind"] if penalty else _PLAIN


_BY_QUESTION: Mapping[str, Judge] = {
    "center": _center,
    "center_shuffled": _shuffled,
    "running": _center,
    "trajectory": _trajectory,
    "fgsm": _attacked,
    "pgd": _attacked,
    "autoattack": _autoattacked,
    "l1_l2": _attacked,
}

JUDGES: Mapping[str, Judge] = {
    claim.name: _BY_QUESTION[claim.name.partition("_")[2]] for claim in Study.read("shen_2020").claims
}
