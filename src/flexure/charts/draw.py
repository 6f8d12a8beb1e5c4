"""One way in for all pictures: looks up how a probe's results are drawn."""

from collections.abc import Callable, Sequence
from typing import Any

from flexure.charts import (
    accuracy,
    activation_patterns,
    class_sensitivity,
    compare,
    distance,
    elasticity,
    filters,
    fuzziness,
    impacts,
    monitor,
    monitored_fuzziness,
    phase_diagram,
    robustness,
    sensitivity,
    spectrum,
    theory,
    training,
    trajectories,
)
from flexure.errors import ArgumentError, nearest
from flexure.results import Result

__all__ = ["DRAWN", "chart", "label_of"]

DRAWN: dict[str, Callable[..., Any]] = {
    "sensitivity": sensitivity.draw,
    "accuracy": accuracy.draw,
    "robustness": robustness.draw,
    "filters": filters.draw,
    "fuzziness": fuzziness.draw,
    "elasticity": elasticity.draw,
    "class_sensitivity": class_sensitivity.draw,
    "against_distance": distance.draw,
    "activation_patterns": activation_patterns.draw,
    "impacts": impacts.draw,
    "spectrum": spectrum.draw,
    "phase_diagram": phase_diagram.draw,
    "compare": compare.draw,
    **dict.fromkeys(monitor.KINDS, monitor.draw),
    "monitor_fuzziness": monitored_fuzziness.draw,
    "monitor_trajectories": trajectories.draw,
    "path_theory": theory.draw,
    "training": training.draw,
}


def chart(
    results: Result | Sequence[Result],
    *,
    labels: Sequence[str] | None = None,
    y: str | Sequence[str] | None = None,
    legend: bool = True,
) -> Any:
    """What does a result look like, or several of them in one picture?

    Args:
        results: One result, or several of the same probe, which are laid over one another.
        labels: What to call each; by default the names of the networks.
        y: The quantity to draw, or several for one panel each. By default what the probe is about
            (``"R"`` for ``sensitivity``, which also draws ``"D"`` and ``"G"``).
        legend: Whether to draw legends; a click on an entry singles it out, another takes that back.

    Returns:
        An Altair chart: shows itself in a notebook, ``.save("depth.pdf")`` writes PDF, SVG, PNG, HTML or JSON without
        a browser, ``.properties(width=…)`` and the rest of Altair work on it.

    Raises:
        ArgumentError: Nothing to draw, results of different probes, a probe that has no picture, an unknown quantity,
            or not one label per result.
    """
    several = [results] if isinstance(results, Result) else list(results)
    if not several:
        raise ArgumentError("chart: no results; expected one or several of the same probe.")
    probes = sorted({result.probe for result in several})
    if len(probes) > 1:
        raise ArgumentError(f"chart: results of different probes ({', '.join(probes)}); draw one picture for each.")
    if probes[0] not in DRAWN:
        raise ArgumentError(f"chart: no picture of {probes[0]!r}. {nearest(probes[0], DRAWN)}")
    names = [label_of(result) for result in several] if labels is None else [str(label) for label in labels]
    if len(names) != len(several):
        raise ArgumentError(f"chart: {len(names)} labels for {len(several)} results; expected one for each.")
    return DRAWN[probes[0]](several, distinct(names), y=y, legend=legend)


def label_of(result: Result) -> str:
    """The network's name as the result records it."""
    return str((result.provenance.get("specimen") or {}).get("name") or "network")


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where one occurs more than once.

    >>> distinct(["a", "b", "a"])
    ['a (1)', 'b', 'a (2)']
    """
    seen = [names[:i].count(name) + 1 for i, name in enumerate(names)]
    return [f"{name} ({count})" if names.count(name) > 1 else name for name, count in zip(names, seen, strict=True)]
