"""Ways to put points into groups, by name: what each takes, makes small, and has to adapt."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from sklearn.cluster import KMeans, SpectralClustering

from flexure.analysis.kernel_kmeans import Clustering, Repaired, kernel_kmeans, repaired

__all__ = ["METHODS", "Settings"]

_STARTS = 10  # scikit-learn's default was this, and is another one since version 1.4
_STEPS = 300


@dataclass(frozen=True)
class Settings:
    """What the methods are told.

    Attributes:
        clusters: How many.
        restarts: Starts of kernel K-means.
        repair: What it does about negative eigenvalues, ``"clip"`` or ``"shift"``.
        seed: Of all random numbers.
    """

    clusters: int = 2
    restarts: int = 20
    repair: str = "clip"
    seed: int = 0


Method = Callable[[np.ndarray, Settings], tuple[Clustering, str]]


def _kmeans(rows: np.ndarray, settings: Settings) -> tuple[Clustering, str]:
    """Lloyd's algorithm on the rows as points."""
    found = KMeans(settings.clusters, n_init=_STARTS, max_iter=_STEPS, random_state=settings.seed % 2**32)
    found.fit(rows)
    return Clustering(found.labels_.astype(np.int64), float(found.inertia_), found.n_iter_ < _STEPS), ""


def _kernel_kmeans(matrix: np.ndarray, settings: Settings) -> tuple[Clustering, str]:
    usable = repaired(matrix, settings.repair)
    found = kernel_kmeans(usable.kernel, settings.clusters, restarts=settings.restarts, seed=settings.seed)
    return found, _about_repair(usable, settings.repair) if usable.lowest < 0 else ""


def _about_repair(usable: Repaired, repair: str) -> str:
    done = "set to 0" if repair == "clip" else f"raised, with all others, by {-usable.lowest:.3g}"
    return (
        f"the matrix is no kernel. Its smallest eigenvalue is {usable.lowest:.3g}, its largest {usable.highest:.3g}; "
        f"negative ones are {usable.negative:.2g} of the sum of all magnitudes. They are {done}"
    )


def _spectral(matrix: np.ndarray, settings: Settings) -> tuple[Clustering, str]:
    """Groups that few links are cut between; the links are the similarities that are not negative."""
    links = np.maximum(matrix, 0)
    negative = np.count_nonzero(matrix < 0) / matrix.size
    remark = f"negative similarities ({negative:.2g} of all) count as no link" if negative else ""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)  # its parts are the clusters
        found = _partition(links, settings)
    return Clustering(found.astype(np.int64), _normalized_cut(links, found), True), remark


def _partition(links: np.ndarray, settings: Settings) -> np.ndarray:
    if len(links) == settings.clusters:
        return np.arange(len(links))  # too few for the eigenvectors that would say so
    method = SpectralClustering(
        settings.clusters, affinity="precomputed", assign_labels="discretize", random_state=settings.seed % 2**32
    )
    return method.fit_predict(links)


def _normalized_cut(links: np.ndarray, assignment: np.ndarray) -> float:
    """Links that leave each cluster ÷ all links of its points, summed; those of a point with itself do not count."""
    members = np.eye(assignment.max() + 1)[assignment]
    between = members.T @ (links - np.diag(np.diag(links))) @ members
    total = between.sum(1)
    leaving = total - np.diag(between)
    return float((leaving[total > 0] / total[total > 0]).sum())


METHODS: Mapping[str, Method] = MappingProxyType(
    {"kmeans": _kmeans, "kernel_kmeans": _kernel_kmeans, "spectral": _spectral}
)
