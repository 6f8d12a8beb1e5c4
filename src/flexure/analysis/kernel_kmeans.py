"""K-means on points of which only the inner products are known."""

from dataclasses import dataclass

import numpy as np
import torch

from flexure import rng

__all__ = ["REPAIRS", "Clustering", "Repaired", "kernel_kmeans", "repaired"]

REPAIRS = ("clip", "shift")
_ROUNDING = 1e-6  # a negative eigenvalue this small beside the largest is rounding of a network in float32


@dataclass(frozen=True, eq=False)
class Clustering:
    """Points in groups.

    Attributes:
        assignment: Each point's cluster ``(n,)``, int64, 0 … k - 1, every one of them in use.
        objective: What was made small, in the kernel's unit.
        converged: Whether no point wanted to move at the end.
    """

    assignment: np.ndarray
    objective: float
    converged: bool


@dataclass(frozen=True, eq=False)
class Repaired:
    """A symmetric matrix as a kernel, without negative eigenvalues.

    Attributes:
        kernel: ``(n, n)``; the very same where nothing was to be repaired.
        lowest: The matrix' smallest eigenvalue; 0 where nothing was to be repaired.
        highest: Its largest one; 0 likewise.
        negative: Share of the negative ones in the sum of all eigenvalues' magnitudes, in [0, 1].
    """

    kernel: np.ndarray
    lowest: float = 0.0
    highest: float = 0.0
    negative: float = 0.0


def kernel_kmeans(
    kernel: np.ndarray, clusters: int, *, restarts: int = 20, iterations: int = 300, seed: int = 0
) -> Clustering:
    r"""Groups of points that lie close around their means, from inner products alone.

    .. math::
        J = \sum_c \sum_{i \in c} \lVert \varphi_i - \mu_c \rVert^2
          = \sum_i K_{ii} - \sum_c \frac{1}{n_c} \sum_{i, j \in c} K_{ij}

    is made small by Lloyd's steps, each point to the nearest of the means
    :math:`\lVert \varphi_i - \mu_c \rVert^2 = K_{ii} - \frac{2}{n_c} \sum_{j \in c} K_{ij} + \frac{1}{n_c^2}
    \sum_{j, l \in c} K_{jl}`, from centers drawn far apart (k-means++); a cluster left empty gets the point farthest
    from its mean. The best of all restarts.

    Args:
        kernel: ``(n, n)`` float64, symmetric, without negative eigenvalues (see :func:`repaired`).
        clusters: k ≤ n.
        restarts: Starts, each with its own random numbers.
        iterations: Steps at most, per start.
        seed: Of the starts.

    Returns:
        The best clustering; J ≥ 0 up to rounding.

    Cost: :math:`n^2 k` multiplications per step.

    Exact case: on :math:`X X^T` J is the objective of K-means on the rows of X.

    Source: Dhillon, Guan and Kulis, *Kernel k-means, spectral clustering and normalized cuts* (2004), unweighted;
        Arthur and Vassilvitskii, *k-means++* (2007).
    """
    index = torch.arange(restarts)
    draws = rng.uniform(clusters, seed=seed, purpose="kernel k-means", index=index).numpy()
    found = (_lloyd(kernel, _start(kernel, draw), clusters, iterations) for draw in draws)
    return min(found, key=lambda one: one.objective)


def repaired(matrix: np.ndarray, repair: str = "clip") -> Repaired:
    r"""The matrix as a kernel: with its negative eigenvalues set to zero, or all of them raised.

    ``"clip"`` gives the nearest kernel in the Frobenius norm. ``"shift"`` adds :math:`-\lambda_{\min}` to the diagonal:
    every clustering's J grows by the same, :math:`-\lambda_{\min} (n - k)`, so the best one stays the best, but points
    become reluctant to move, and more starts end short of it. Negative eigenvalues within 1e-6 of the largest are
    rounding and left alone.

    Args:
        matrix: ``(n, n)`` float64, symmetric.
        repair: ``"clip"`` or ``"shift"``.

    Cost: a Cholesky factorization; eigenvalues (:math:`n^3`) where that fails.
    """
    if _is_kernel(matrix):
        return Repaired(matrix)
    values, vectors = np.linalg.eigh(matrix)
    negative = float(-values[values < 0].sum() / np.abs(values).sum())
    about = (float(values[0]), float(values[-1]), negative)
    if repair == "shift":
        return Repaired(matrix - values[0] * np.eye(len(matrix)), *about)
    kept = values > 0
    return Repaired((vectors[:, kept] * values[kept]) @ vectors[:, kept].T, *about)


def _is_kernel(matrix: np.ndarray) -> bool:
    """Whether no eigenvalue is negative beyond rounding."""
    slack = _ROUNDING * max(float(np.abs(matrix).sum(1).max()), np.finfo(float).tiny)  # at least the largest eigenvalue
    try:
        np.linalg.cholesky(matrix + slack * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    return True


def _start(kernel: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Each point's nearest of k centers, drawn one by one with chances as the squared distance from those before."""
    diagonal = np.diag(kernel)
    distances = np.empty((len(kernel), len(draws)))
    weights = np.ones(len(kernel))
    for c, draw in enumerate(draws):
        sums = np.cumsum(weights)
        center = min(int(np.searchsorted(sums, draw * sums[-1], side="right")), len(kernel) - 1)
        distances[:, c] = np.maximum(diagonal + diagonal[center] - 2 * kernel[:, center], 0)
        distances[center, c] = 0
        weights = distances[:, : c + 1].min(1)
    return distances.argmin(1)


def _lloyd(kernel: np.ndarray, start: np.ndarray, clusters: int, iterations: int) -> Clustering:
    """Steps from a start until no point moves."""
    assignment, converged = start, False
    for _ in range(iterations):
        distances = _distances(kernel, assignment, clusters)
        moved = _filled(distances.argmin(1), distances)
        if converged := np.array_equal(moved, assignment):
            break
        assignment = moved
    distances = _distances(kernel, assignment, clusters)
    objective = float(distances[np.arange(len(kernel)), assignment].sum())
    return Clustering(assignment.astype(np.int64), objective, converged)


def _distances(kernel: np.ndarray, assignment: np.ndarray, clusters: int) -> np.ndarray:
    """Squared distance of each point from each cluster's mean ``(n, k)``; infinite from one that is empty."""
    members = np.eye(clusters)[assignment]
    sizes = members.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = members / sizes
        toward = kernel @ means
        distances = np.diag(kernel)[:, None] - 2 * toward + (means * toward).sum(0)
    return np.where(sizes > 0, distances, np.inf)


def _filled(assignment: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """The same with, in each empty cluster, the point that lies farthest from its mean and is not alone there."""
    assignment = assignment.copy()
    own = distances[np.arange(len(assignment)), assignment].copy()
    for empty in np.setdiff1d(np.arange(distances.shape[1]), assignment):
        sizes = np.bincount(assignment, minlength=distances.shape[1])
        farthest = int(np.where(sizes[assignment] > 1, own, -np.inf).argmax())
        assignment[farthest], own[farthest] = empty, 0
    return assignment
