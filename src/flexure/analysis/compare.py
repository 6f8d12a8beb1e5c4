"""Which of D, G and R goes with test error over many networks, and as which power?"""

import math
import os
import platform
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from importlib.metadata import version
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

from flexure.analysis.points import Point, averaged, check_columns, networks, points
from flexure.analysis.powers import FEWEST, FEWEST_FOR_INTERVALS, Power, fit
from flexure.errors import ArgumentError, nearest
from flexure.results import MEASURED, Result, Run

__all__ = ["compare"]

QUESTION = "Which of D, G and R goes with the test error of these networks, and as which power?"
_ERRORS = {"error": "share of wrong answers", "loss": "mean loss"}
_ALIKE = (
    "transform",
    "noise",
    "displacement",
    "temperature",
    "cutoff",
    "interpolation",
    "match",
    "sigma",
    "space",
    "reduction",
    "same_pairs",
)


def compare(
    runs: Iterable[Run | str | os.PathLike],
    *,
    x: str | Sequence[str] = ("D", "G", "R"),
    layer: str = "output",
    error: str = "error",
    corruption: str | float | Sequence[float] = "trained",
    by: str | None = "corruption",
    seeds: str = "each",
    bootstrap: int = 2000,
    seed: int = 0,
) -> Result:
    r"""Which of D, G and R goes with the test error of these networks, and as which power?

    Every measured network is a point. Per corruption level and quantity :math:`X`, a line through the logs

    .. math::
        \log\varepsilon = \log a + b \log X, \qquad
        \rho(\varepsilon, X) = \frac{\mathrm{Cov}(\log\varepsilon, \log X)}
        {\sqrt{\mathrm{Var}\log\varepsilon \cdot \mathrm{Var}\log X}},

    by ordinary least squares over points. Errors and intervals are over networks: all points of a network, which may
    have one at each of several levels, are left out, or drawn with replacement, together. ``b = 0.5`` and ``ρ`` near 1
    mean: a network with a quarter of another's R makes half its errors. A correlation over the networks at hand, not a
    cause.

    Args:
        runs: Runs or run folders (of a sweep, ``flexure.fleet.read_sweep`` gives them), each with a result of
            ``sensitivity`` and one of ``accuracy``, or in its place one of ``training``.
        x: Quantities: columns of the sensitivity table.
        layer: Layer at which they are taken.
        error: ``"error"``, the share of wrong answers, or ``"loss"``.
        corruption: Level of the images on which the error was measured: ``"trained"``, the one each network was trained
            at; ``"all"`` that were measured; or a level, or several.
        by: ``"corruption"`` for one fit per level, None for one over all points.
        seeds: Networks that differ in their seed alone are points of their own (``"each"``), or one point, their
            geometric mean (``"mean"``, as in Petrini's figures).
        bootstrap: Resamples of the networks, for ρ.
        seed: Of the resampling.

    Returns:
        One row per level and quantity: ``corruption`` (norm of the noise; NaN for several), ``quantity``, ``exponent``
        b, ``prefactor`` a (the error at X = 1), ``correlation`` in [-1, 1], each with ``_se`` and a 95 % interval
        ``_low``, ``_high`` (b and a: Student's t, by leaving out one network at a time; ρ: BCa bootstrap); ``x_noise``
        and ``error_noise``: the share of the variance of log X and log ε that is error of measurement (the fit takes X
        as exact; its exponent is too small by about ``x_noise``); ``n`` points, ``families``, ``left_out`` points,
        ``status``. Fewer than 3 networks are not fitted, fewer than 5 have no interval. The points are arrays:
        ``point_D``, ``point_D_se``, …, ``point_error``, ``point_error_se``, ``point_corruption``, and
        ``point_network``, a place in ``provenance["networks"]``. The band of row i is ``fit_low[i]`` to ``fit_high[i]``
        at ``fit_x[i]``.

    Raises:
        ArgumentError: No runs, or a name is unknown.
        RunError: A folder holds no run.

    Cost: no forward pass; some milliseconds per row.
    Exact case: errors :math:`a X^b` give back a and b, and :math:`\rho = \mathrm{sign}(b)`.
    Source: Petrini et al. 2021 and Tomasini et al. 2022 (correlation of logs). We add standard errors and intervals. In
    simulations of 5 to 20 networks with lognormal scatter, alike everywhere or growing along X, those of b and a
    cover the truth in 91 to 96 % of cases, those of ρ in 87 to 95 % (least for 5 networks).
    """
    chosen = [x] if isinstance(x, str) else list(x)
    wanted = _levels(corruption)
    _check(chosen, error, wanted, by, seeds, bootstrap)
    measured = networks(runs)
    check_columns(measured, chosen, layer)
    found, left_out = points(measured, chosen, layer, error, wanted)
    found = sorted(found, key=lambda point: (point.corruption, point.network.name, point.network.folder, point.error))
    shown = averaged(found) if seeds == "mean" else found
    groups = _groups(shown, by)
    rows, fits = [], []
    for level, members in groups:
        for name in chosen:
            row, power = _row(level, name, members, bootstrap, seed)
            rows.append(row)
            fits.append(power)
    settings = {"x": chosen, "layer": layer, "error": error, "corruption": wanted, "by": by, "seeds": seeds}
    return Result(
        "compare",
        QUESTION,
        pd.DataFrame(rows),
        _arrays(shown, chosen, fits),
        _units(chosen, error),
        _origin(measured, shown, left_out, settings | {"bootstrap": bootstrap}, seed),
        tuple(_notes(measured, shown, left_out, groups)),
    )


def _check(
    x: Sequence[str], error: str, corruption: str | Sequence[float], by: str | None, seeds: str, bootstrap: int
) -> None:
    if not x:
        raise ArgumentError("compare: x names no quantity; expected some of D, G and R.")
    choices = {"error": (error, _ERRORS), "by": (by or "corruption", ("corruption",)), "seeds": (seeds, _SEEDS)}
    if isinstance(corruption, str):
        choices["corruption"] = (corruption, ("all", "trained"))
    for name, (value, valid) in choices.items():
        if value not in valid:
            raise ArgumentError(f"compare: no {name} {value!r}. {nearest(value, valid)}")
    if not isinstance(bootstrap, Integral) or bootstrap < 100:
        raise ArgumentError(f"compare: bootstrap must be a whole number of at least 100; got {bootstrap!r}.")


_SEEDS = ("each", "mean")


def _levels(corruption: Any) -> str | list[float]:
    """Levels as numbers; a name as it is."""
    if isinstance(corruption, str):
        return corruption
    several = list(corruption) if isinstance(corruption, Iterable) else [corruption]
    if not all(isinstance(level, Real) for level in several):
        raise ArgumentError(f"compare: corruption must be 'trained', 'all', a level or several; got {corruption!r}.")
    return [float(level) for level in several]


def _groups(shown: Sequence[Point], by: str | None) -> list[tuple[float, list[Point]]]:
    """Points to be fitted together, with their level; one empty group where there is no point."""
    levels = sorted({point.corruption for point in shown})
    if by is None or not levels:
        return [(levels[0] if len(levels) == 1 else math.nan, list(shown))]
    return [(level, [point for point in shown if point.corruption == level]) for level in levels]


def _row(level: float, name: str, members: Sequence[Point], bootstrap: int, seed: int) -> tuple[dict, Power | None]:
    """One line of the table, and the fit where there is one."""
    usable = [point for point in members if _has_logs(point, name)]
    x, x_se = _column([point.values[name] for point in usable])
    y, y_se = _column([point.error for point in usable])
    of = _places([point.network.weights or point.network for point in usable])
    count = len(np.unique(of))
    reason = _why_no_fit(name, x, y, count)
    power = None if reason else fit(x, y, of, resamples=bootstrap, seed=seed)
    row: dict[str, Any] = {"corruption": level, "quantity": name}
    for number in ("exponent", "prefactor", "correlation"):
        row[number] = getattr(power, number, math.nan)
        row[f"{number}_se"] = getattr(power, f"{number}_se", math.nan)
        row[f"{number}_low"], row[f"{number}_high"] = getattr(power, f"{number}_interval", (math.nan, math.nan))
    row |= {
        "x_noise": _share(x, x_se) if power else math.nan,
        "error_noise": _share(y, y_se) if power else math.nan,
        "n": len(usable),
        "families": len({point.network.family for point in usable}),
        "left_out": len(members) - len(usable),
        "status": reason or _how_certain(name, power, count),
    }
    return row, power


def _places(values: Sequence[Hashable]) -> np.ndarray:
    """The place of each among those that differ, in order of appearance."""
    place = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return np.array([place[value] for value in values], dtype=np.int64)


def _has_logs(point: Point, name: str) -> bool:
    return all(math.isfinite(value) and value > 0 for value, _ in (point.values[name], point.error))


def _column(estimates: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    values = np.array(estimates, dtype=float).reshape(-1, 2)
    return values[:, 0], values[:, 1]


def _why_no_fit(name: str, x: np.ndarray, y: np.ndarray, count: int) -> str:
    if count < FEWEST:
        return f"{count} network{'' if count == 1 else 's'}; at least {FEWEST} are needed"
    for what, values in ((name, x), ("the test error", y)):
        if np.ptp(np.log(values)) <= 1e-12:
            return f"{what} is the same for all networks"
    return ""


def _how_certain(name: str, power: Power | None, count: int) -> str:
    if count < FEWEST_FOR_INTERVALS:
        return f"no interval from {count} networks (at least {FEWEST_FOR_INTERVALS} are needed)"
    if power is not None and math.isnan(power.exponent_se):
        return f"no error of the line: {name} is the same for all networks but one"
    return MEASURED


def _share(values: np.ndarray, errors: np.ndarray) -> float:
    """Mean squared relative error of measurement ÷ variance of the logs."""
    return float(np.mean((errors / values) ** 2) / np.var(np.log(values), ddof=1))


def _arrays(shown: Sequence[Point], x: Sequence[str], fits: Sequence[Power | None]) -> dict[str, np.ndarray]:
    arrays = {
        "point_network": _places([point.network for point in shown]),
        "point_corruption": np.array([point.corruption for point in shown], dtype=float),
    }
    columns = {name: [point.values[name] for point in shown] for name in x}
    for name, estimates in {**columns, "error": [point.error for point in shown]}.items():
        arrays[f"point_{name}"], arrays[f"point_{name}_se"] = _column(estimates)
    size = max((len(power.x) for power in fits if power), default=0)
    for part in ("x", "low", "high"):
        lines = [getattr(power, part) if power else np.full(size, np.nan) for power in fits]
        arrays[f"fit_{part}"] = np.stack(lines)
    return arrays


def _units(x: Sequence[str], error: str) -> dict[str, str]:
    units = {"corruption": "norm of the noise, normalized input", "n": "networks", "left_out": "networks"}
    units |= {"families": "families", "x_noise": "share of variance", "error_noise": "share of variance"}
    units |= {"prefactor": _ERRORS[error], "point_error": _ERRORS[error], "point_error_se": _ERRORS[error]}
    return units | {f"point_{name}{end}": "ratio" for name in x for end in ("", "_se")}


def _origin(
    runs: Sequence[Run], shown: Sequence[Point], left_out: Sequence[tuple[str, str]], settings: Mapping, seed: int
) -> dict[str, Any]:
    kept = list(dict.fromkeys(point.network for point in shown))
    names = {"flexure": version("flexure"), "python": platform.python_version(), "numpy": np.__version__}
    return {
        "settings": dict(settings),
        "seed": seed,
        "specimen": {"name": f"{len(kept)} network{'' if len(kept) == 1 else 's'}"},
        "data": {"name": ", ".join(_data(runs)) or None, "n": None},
        "networks": [network.as_dict() for network in kept],
        "transforms": sorted({_setting(_about(run), "transform") for run in runs if _about(run)}, key=str),
        "left_out": [{"name": name, "reason": reason} for name, reason in left_out],
        "versions": names,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _data(runs: Sequence[Run]) -> list[str]:
    """Names of the images that sensitivities were measured on."""
    found = ((_about(run).get("data") or {}).get("name") or run.spec.get("data") for run in runs)
    return sorted({str(name) for name in found if name})


def _about(run: Run) -> Mapping[str, Any]:
    return run.results["sensitivity"].provenance if "sensitivity" in run.results else {}


def _notes(
    runs: Sequence[Run], shown: Sequence[Point], left_out: Sequence[tuple[str, str]], groups: Sequence
) -> list[str]:
    notes = []
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out:
        reasons.setdefault(reason, []).append(name)
    notes += [f"Left out, {reason}: {_some(names)}." for reason, names in reasons.items()]
    for level, members in groups:
        if faultless := [point.network.name for point in members if point.error[0] == 0]:
            where = "" if math.isnan(level) else f" at corruption {level:g}"
            notes.append(f"No error at all{where}, so no log; left out there: {_some(list(dict.fromkeys(faultless)))}.")
    if differing := _differing(runs):
        notes.append(f"The networks were not all measured alike: {'; '.join(differing)}.")
    if alike := _same_but_for_seeds(shown):
        notes.append(
            f"{alike} of the {len(shown)} points differ from another only in their seed. The intervals take them as "
            "independent networks; seeds='mean' makes one point of each kind."
        )
    if shown and len({point.network.family for point in shown}) == 1:
        notes.append(f"All networks are of one family ({shown[0].network.family}).")
    return notes


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return f"{', '.join(names[:6])}{more}"


def _differing(runs: Sequence[Run]) -> list[str]:
    """Settings and images in which the sensitivities differ, in words."""
    origins = [about for run in runs if (about := _about(run))]
    found = []
    for name in _ALIKE:
        values = {_words(_setting(about, name)) for about in origins}
        if len(values) > 1:
            found.append(f"{name} {' or '.join(sorted(values))}")
    sets = {_words((about.get("data") or {}).get("hash")) for about in origins}
    return found + ([f"{len(sets)} different sets of images ({', '.join(_data(runs))})"] if len(sets) > 1 else [])


def _setting(about: Mapping[str, Any], name: str) -> Any:
    """A setting of a sensitivity; those that older results lack were not to be set then."""
    return (about.get("settings") or {}).get(name, {"noise": "sphere"}.get(name))


def _words(value: Any) -> str:
    """A setting as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same_but_for_seeds(shown: Sequence[Point]) -> int:
    kinds = [(point.network.kind, point.corruption) for point in shown]
    return sum(kinds.count(kind) > 1 for kind in kinds)
