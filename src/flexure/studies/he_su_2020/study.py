"""He and Su 2020: what is computed from the measured networks for each claim."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from flexure import Run
from flexure.analysis.distance import against_distance
from flexure.studies import Study, clustered, measured
from flexure.studies.claims import Finding, is_about

__all__ = ["JUDGES", "accuracies"]

_BOTH = ("relative", "kernel")
_TABLE: Sequence[tuple[Mapping[str, Any], Sequence[str]]] = (
    ({"net": "fnn"}, ("pixels", "pca")),
    ({"net": "fnn", "linear": True}, _BOTH),
    ({"net": "fnn", "linear": True, "bce": True}, _BOTH),
    ({"net": "fnn"}, _BOTH),
    ({"net": "fnn", "bce": True}, _BOTH),
    ({"net": "mnist_cnn"}, _BOTH),
    ({"net": "fnn_skip"}, _BOTH),
    ({"net": "mnist_cnn"}, ("autoencoder", "features")),
)


def accuracies(runs: Sequence[Run]) -> pd.DataFrame:
    """The paper's table: accuracy of clustering by pair (mean over seeds) of every network and method there is."""
    rows = {}
    for kind, methods in _TABLE:
        for by in methods:
            found = pd.Series(_scores(runs, {**kind, "by": by}), dtype=float)
            name = ", ".join([kind["net"], *(part for part in ("linear", "bce") if part in kind), by])
            if len(found):
                rows[name] = found.groupby(level=0, sort=False).mean()
    return pd.DataFrame(rows).T


def _correlation(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean([_pearson(run, settings["similarity"]) for run in runs])


def _contrast(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    """How far the ReLU network's correlation is from that of its linear twin, seed by seed."""
    found = {(_is_linear(run), run.spec["seed"]): _pearson(run, settings["similarity"]) for run in runs}
    return Finding.mean([value - found[True, seed] for (linear, seed), value in found.items() if not linear])


def _pearson(run: Run, similarity: str) -> float:
    """As in the paper, over all ordered pairs, those of a point with itself included."""
    found = against_distance(run["elasticity"], measured.distances(run), similarity=similarity, diagonal=True)
    return float(found["pearson"][0])


def _how_often(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.share(_gains(runs, settings))


def _by_how_much(runs: Sequence[Run], settings: Mapping[str, Any]) -> Finding:
    return Finding.mean(_gains(runs, settings))


def _gains(runs: Sequence[Run], settings: Mapping[str, Any]) -> list[float]:
    """What one way of clustering is ahead of another, for the same images."""
    better, worse = (_scores(runs, settings[name]) for name in ("better", "worse"))
    return [better[images] - worse[images] for images in better]


def _scores(runs: Sequence[Run], asked: Mapping[str, Any]) -> dict[tuple[str, int], float]:
    """Accuracy of clustering by pair of classes and seed."""
    chosen = [run for run in runs if is_about(asked, run.spec)]
    return {(_pair(run), run.spec["seed"]): clustered.accuracy(run, asked["by"]) for run in chosen}


def _is_linear(run: Run) -> bool:
    return run.spec.get("twin") is not None


def _pair(run: Run) -> str:
    return run.spec["data"].rpartition("/")[2]


def _judge(settings: Mapping[str, Any], rule: str) -> Callable[[Sequence[Run], Mapping[str, Any]], Finding]:
    if "similarity" in settings:
        return _correlation if "linear" in settings else _contrast
    return _by_how_much if rule == "within" else _how_often


JUDGES: Mapping[str, Callable[[Sequence[Run], Mapping[str, Any]], Finding]] = {
    claim.name: _judge(claim.settings, claim.rule) for claim in Study.read("he_su_2020").claims
}
