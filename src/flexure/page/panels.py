"""One panel per probe: which results it shows, what it computes from them, and the template that arranges it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flexure.charts.draw import distinct
from flexure.page.accuracy import contents as accuracy
from flexure.page.analysis import KINDS as ANALYSES
from flexure.page.analysis import contents as analysis
from flexure.page.cluster import contents as cluster
from flexure.page.compare import contents as compare
from flexure.page.elasticity import contents as elasticity
from flexure.page.embed import Picture
from flexure.page.facts import NOT_RECORDED, command_of, rows_of, tree
from flexure.page.filters import contents as filters
from flexure.page.fuzziness import contents as fuzziness
from flexure.page.monitor import contents as monitor
from flexure.page.monitored_fuzziness import contents as monitored_fuzziness
from flexure.page.numbers import number
from flexure.page.phase_diagram import contents as phase_diagram
from flexure.page.robustness import contents as robustness
from flexure.page.sensitivity import contents as sensitivity
from flexure.page.sweep import contents as sweep
from flexure.page.training import contents as training
from flexure.page.trajectories import contents as trajectories
from flexure.results import Result, Run

__all__ = ["Panel", "panels"]

_NONE = np.empty(0)
_CONTENT: Mapping[str, tuple[Callable[..., Any], str]] = {
    "sensitivity": (sensitivity, "sensitivity.html"),
    "phase_diagram": (phase_diagram, "phase_diagram.html"),
    "filters": (filters, "filters.html"),
    "fuzziness": (fuzziness, "fuzziness.html"),
    "elasticity": (elasticity, "elasticity.html"),
    **dict.fromkeys(ANALYSES, (analysis, "analysis.html")),
    "cluster": (cluster, "cluster.html"),
    "accuracy": (accuracy, "accuracy.html"),
    "robustness": (robustness, "robustness.html"),
    "training": (training, "training.html"),
    "monitor_sensitivity": (monitor, "monitor.html"),
    "monitor_accuracy": (monitor, "monitor.html"),
    "monitor_elasticity": (monitor, "monitor.html"),
    "monitor_fuzziness": (monitored_fuzziness, "monitored_fuzziness.html"),
    "monitor_trajectories": (trajectories, "trajectories.html"),
    "compare": (compare, "compare.html"),
    "sweep": (sweep, "sweep.html"),
}


@dataclass(frozen=True)
class Panel:
    """One question and its answer, for one or several runs.

    Attributes:
        probe: Name of the probe.
        question: The question in a sentence.
        template: File that arranges the panel.
        content: What the template needs, made by the probe's own function; for a probe without one, the tables.
        pictures: The charts in it.
        labels: Names of the runs.
        facts: Per run, network, data, number of images and seed in one line.
        initialized: Number of initialized networks they were compared with, 0 where that differs or is not known.
        notes: Remark and the runs that make it.
        commands: Command and the runs it made.
        setup: How it was measured: label, one phrase per run.
        provenance: Per run, everything that was recorded, flat.
    """

    probe: str
    question: str
    template: str
    content: Any
    pictures: list[Picture]
    labels: list[str]
    facts: list[str]
    initialized: int
    notes: list[tuple[str, str]]
    commands: list[tuple[str, str]]
    setup: list[tuple[str, list[str]]]
    provenance: list[tuple[str, list[tuple[str, str]]]]


def panels(runs: Sequence[Run]) -> list[Panel]:
    """A panel for every probe that any of the runs has finished, in the order of the first run that has it."""
    names = distinct([run.name or "run" for run in runs])
    probes = dict.fromkeys(probe for run in runs for probe in run.results)
    return [
        _panel(probe, [(name, run) for name, run in zip(names, runs, strict=True) if probe in run.results])
        for probe in probes
    ]


def _panel(probe: str, runs: Sequence[tuple[str, Run]]) -> Panel:
    labels = [name for name, _ in runs]
    results = [_in_order(run, run.results[probe]) for _, run in runs]
    make, template = _CONTENT.get(probe, (_plain_tables, "plain.html"))
    content = make(results, labels)
    setups = [rows_of(run, result) for (_, run), result in zip(runs, results, strict=True)]
    return Panel(
        probe=probe,
        question=" ".join(dict.fromkeys(result.question for result in results)),
        template=template,
        content=content,
        pictures=getattr(content, "pictures", []),
        labels=labels,
        facts=[_in_one_line(setup) for setup in setups],
        initialized=_agreed([result.provenance.get("initialized") for result in results]),
        notes=_grouped([(note, name) for name, result in zip(labels, results, strict=True) for note in result.notes]),
        commands=_grouped([(command_of(run, result), name) for (name, run), result in zip(runs, results, strict=True)]),
        setup=_setup(setups, bool(results[0].provenance.get("settings"))),
        provenance=[(name, tree(result.provenance)) for name, result in zip(labels, results, strict=True)],
    )


def _in_order(run: Run, result: Result) -> Result:
    """With the clusters of the run where no class is known, so that the matrix can be drawn in their order."""
    if result.probe != "elasticity" or "cluster" not in run.results or (result.arrays.get("labels", _NONE) >= 0).any():
        return result
    found = run.results["cluster"].arrays.get("assignment")
    if found is None or not len(found) or found.shape[1] != len(result.arrays.get("labels", _NONE)):
        return result
    return replace(result, arrays={**result.arrays, "cluster": found[-1]})


def _setup(setups: Sequence[Mapping[str, str]], has_settings: bool) -> list[tuple[str, list[str]]]:
    """The lines of the table; where settings were recorded, what they are silent about does not apply to the probe."""
    labels = dict.fromkeys(label for setup in setups for label in setup)
    lines = [(label, [setup.get(label, "none") for setup in setups]) for label in labels]
    return [(label, told) for label, told in lines if not has_settings or set(told) != {NOT_RECORDED}]


def _in_one_line(setup: Mapping[str, str]) -> str:
    parts = {name: setup[name] for name in ("network", "data") if setup[name] != NOT_RECORDED}
    counts = {name: setup[name] for name in ("images", "seed") if setup[name] != NOT_RECORDED}
    words = {"images": "{} images", "seed": "seed {}"}
    return " · ".join([*parts.values(), *(words[name].format(value) for name, value in counts.items())])


def _grouped(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each text once, with the names of all the runs it came from."""
    groups: dict[str, list[str]] = {}
    for text, name in pairs:
        if text:
            groups.setdefault(text, []).append(name)
    return [(text, ", ".join(names)) for text, names in groups.items()]


def _agreed(counts: Sequence[Any]) -> int:
    return counts[0] if isinstance(counts[0], int) and len(set(counts)) == 1 else 0


@dataclass(frozen=True)
class _Plain:
    """The tables as they are, for a probe that has no arrangement of its own: name, header, rows of text."""

    tables: list[tuple[str, list[str], list[list[str]]]]


def _plain_tables(results: Sequence[Result], labels: Sequence[str]) -> _Plain:
    return _Plain(
        [(label, list(result.table.columns), _texts(result)) for result, label in zip(results, labels, strict=True)]
    )


def _texts(result: Result) -> list[list[str]]:
    return [[_text(value) for value in row] for row in result.table.itertuples(index=False)]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(number(value) or "–")
    return str(value)
