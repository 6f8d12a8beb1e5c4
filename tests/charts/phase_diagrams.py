"""Results of a phase diagram made from formulas: the shape of real ones, in a millisecond."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from charts.make import provenance, samples

from flexure.formulas import maximum_entropy as law
from flexure.results import Result, Run

SIZE = 32


def diagram(
    *,
    cutoffs: Sequence[int] = (3, 5, 15),
    temperatures: int = 8,
    end: float = 0.2,
    unmeasured: Mapping[int, str] | None = None,
    name: str = "resnet20",
) -> Result:
    """R falls to ``end`` within the band and rises again beyond, with errors of a tenth."""
    rows = [
        _row(c, t, end) for c in cutoffs for t in law.temperature_grid(c, SIZE, max(temperatures, 2))[-temperatures:]
    ]
    frame = pd.DataFrame(rows).assign(n=500, status="measured", draws=1)
    for row, reason in (unmeasured or {}).items():
        frame.loc[row, [f"{letter}{suffix}" for letter in "DGR" for suffix in ("", "_se")]] = np.nan
        frame.loc[row, "status"] = reason
    about = provenance(name)
    about["settings"] = {"cutoffs": list(cutoffs), "temperatures": temperatures, "space": "normalized", "draws": 1}
    question = "How sensitive is the output to deformations of every size and roughness, and which fold the image?"
    return Result("phase_diagram", question, frame, _arrays(frame, cutoffs), {}, about)


def run(one: Result | None = None, *, name: str = "resnet20") -> Run:
    """One run as ``read`` would give it back."""
    one = diagram(name=name) if one is None else one
    return Run(name, {"model": name, "data": "cifar10", "seed": 0}, {}, {"phase_diagram": one})


def _row(cutoff: int, temperature: float, end: float) -> dict:
    low, high = law.temperature_range(cutoff, SIZE)
    delta = law.nominal_displacement(temperature, cutoff, SIZE)
    ratio, noise = end * math.exp(abs(math.log(delta)) * 0.5), 1 - math.exp(-(delta**2))
    folding = 1 / (1 + (1.3 * high / temperature) ** 4) if temperature > high / 4 else 0.0
    row = {
        "layer": "output", "cutoff": cutoff, "temperature": temperature, "displacement": delta,
        "rms_displacement": law.rms_displacement(temperature, cutoff, SIZE), "in_band": low <= temperature <= high,
        "folding": folding, "folding_se": math.sqrt(folding * (1 - folding) / 500),
    }  # fmt: skip
    for letter, value in {"D": ratio * noise, "G": noise, "R": ratio}.items():
        row |= {letter: value, f"{letter}_se": value / 10}
    return row


def _arrays(frame: pd.DataFrame, cutoffs: Sequence[int]) -> dict[str, np.ndarray]:
    found = samples(1, size=SIZE)
    places = [frame[frame["cutoff"] == cutoff].iloc[[0, -1]] for cutoff in cutoffs]
    shape = (len(cutoffs), 2)
    whole = range(2, 2 + round(1.35 * max(*cutoffs, 3)))
    low, high = zip(*(law.temperature_range(cutoff, SIZE) for cutoff in whole), strict=True)
    return {
        "sample_image": found["sample_image"][0],
        "sample_deformed": np.broadcast_to(found["sample_deformed"][0], (*shape, 1, SIZE, SIZE)),
        "sample_field": np.broadcast_to(found["sample_field"][0], (*shape, 2, SIZE, SIZE)),
        "sample_temperature": np.array([part["temperature"] for part in places]),
        "sample_displacement": np.array([part["displacement"] for part in places]),
        "sample_folded": np.array([[False, True]] * len(cutoffs)),
        "sample_index": np.array([63]),
        "curve_cutoff": np.array(whole),
        "curve_T1": np.array(low),
        "curve_T2": np.array(high),
    }
