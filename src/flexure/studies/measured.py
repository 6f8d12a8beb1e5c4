"""What the studies read off a measured network: one number per network and question."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import flexure
from flexure.data import Images, distances_of, sample
from flexure.errors import ArgumentError
from flexure.results import MEASURED
from flexure.runs.train import as_measured
from flexure.specimen import Specimen
from flexure.studies.claims import Finding

__all__ = [
    "at_output",
    "change",
    "correlation",
    "deepest",
    "distances",
    "fall",
    "images_of",
    "network_of",
    "pooling_gain",
    "shuffled_share",
    "trained_here",
    "weights_before",
]


def trained_here(runs: Sequence[flexure.Run]) -> list[flexure.Run]:
    """The networks whose weights before training are known."""
    return [run for run in runs if "net" in run.spec]


def at_output(run: flexure.Run, name: str) -> float:
    """A column of the sensitivity table at the network's output."""
    return float(run["sensitivity"].to_frame()[name].iloc[-1])


def change(run: flexure.Run, quantity: str) -> float:
    """Decades by which training changes D, G or R at the output."""
    return float(np.log10(at_output(run, quantity) / at_output(run, f"{quantity}_init")))


def deepest(run: flexure.Run, name: str) -> float:
    """A column of the sensitivity table at the last convolution that was measured; NaN where there is none."""
    rows = _convolutions(run)
    return float(rows[name].iloc[-1]) if len(rows) else math.nan


def fall(run: flexure.Run, suffix: str = "") -> float:
    """Decades by which R changes from the first convolution to the last: below 0 where it falls with depth."""
    rows = _convolutions(run)
    ends = rows[f"R{suffix}"].to_numpy(float)[[0, -1]] if len(rows) > 1 else np.full(2, math.nan)
    return float(np.log10(ends[1] / ends[0]))


def shuffled_share(run: flexure.Run) -> float:
    """The log of R after shuffling over log R before it, at the last convolution.

    1 where both coincide (pooling over space alone), 0 where the shuffled network keeps R = 1 of its input (over
    channels alone). NaN where R is not below 1: there is no fall that could be shared out.
    """
    whole = deepest(run, "R")
    return math.log(deepest(run, "R_shuffled")) / math.log(whole) if whole < 1 else math.nan


def images_of(run: flexure.Run, limit: int | None = None) -> Images:
    """The images on which a trained network was measured, read again; of these as many as ``limit`` at most."""
    return sample(as_measured(run)[1], limit, seed=run.spec["seed"])


def network_of(run: flexure.Run) -> Specimen:
    """A network that was trained, as it was measured."""
    return as_measured(run)[0]


def weights_before(run: flexure.Run) -> Path:
    """The file of a network's weights before it was trained.

    Raises:
        ArgumentError: The run lies in no folder.
    """
    if run.folder is None:
        raise ArgumentError(f"run {run.name!r}: in no folder, so its weights before the training are not known.")
    return run.folder / "initial.safetensors"


def distances(run: flexure.Run) -> np.ndarray:
    """Distances ``(n, n)`` between the points on which a network was measured, along what they lie on.

    Raises:
        ArgumentError: They lie on nothing that is known.
    """
    images = images_of(run)
    found = distances_of(images)
    if found is None:
        raise ArgumentError(f"{images.name}: images know no distances; points of a synthetic set do.")
    return found


def pooling_gain(run: flexure.Run) -> float:
    """By how much training has raised the pooling index, averaged over the convolutions that have one."""
    table = run["filters"].to_frame()
    return float((table["pooling_index"] - table["pooling_index_init"]).mean())


def correlation(runs: Sequence[flexure.Run], quantity: str, column: str = "correlation") -> Finding:
    """Correlation over networks of log test error and the log of D, G or R at the output (or another column)."""
    compared = flexure.compare(runs)
    table = compared.to_frame()
    row = table[table["quantity"] == quantity].iloc[0]
    value, se, low, high = (float(row[f"{column}{end}"]) for end in ("", "_se", "_low", "_high"))
    words = [str(row["status"])] * (row["status"] != MEASURED) + list(compared.notes)
    return Finding(value, se, low, high, int(row["n"]), " ".join(words))


def _convolutions(run: flexure.Run) -> pd.DataFrame:
    table = run["sensitivity"].to_frame()
    return table[table["kind"].str.startswith("Conv") & table["R"].notna()]
