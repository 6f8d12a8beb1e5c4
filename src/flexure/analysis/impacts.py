"""While a network learns: how strongly do images of one class, and of others, drive a prediction?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from flexure.errors import ArgumentError, nearest
from flexure.formulas.pair_means import PairSums, jackknife
from flexure.results import MEASURED, Result

__all__ = ["MODELS", "impacts", "impacts_of_kernels"]

QUESTION = "While it learns: how strongly do images of one class, and of others, drive a prediction?"
MODELS = ("features", "logits")
_NAMES = ("alpha", "beta", "gamma")
_SUMS = ("alpha_sum", "beta_sum", "gamma_sum")
_TURNED = "a mean has turned around or vanished: no rate"


def impacts(
    outputs: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    times: Sequence[float] | np.ndarray,
    *,
    model: str = "features",
    specimen: str = "network",
) -> Result:
    r"""While it learns: how strongly do images of one class, and of others, drive a prediction?

    A training image of class l, drawn with chance 1/K, is taken to move the features of an image of class k by
    :math:`E_{kl}` times its own mean: :math:`\alpha` within a class, :math:`\beta` between two. With class means
    :math:`m_k`,

    .. math::
        \frac{dm_k}{dt} = \frac1K \sum_l E_{kl} P_l m_l, \qquad \gamma = \alpha - \beta,

    and classes part where :math:`\gamma > 0` goes on for long enough. ``model="features"`` has :math:`P_l = 1`: the
    mean over classes grows at the rate :math:`(\alpha + (K-1)\beta)/K`, deviations from it at :math:`\gamma/K`.
    ``model="logits"``, for outputs that are the logits of the K classes, has the projection :math:`P_l` on
    :math:`d_l = e_l - 1/K`, for an image moves others towards or away from its own class: with the margins
    :math:`p_k = d_k \cdot m_k / \|d_k\|^2`, their mean grows at the rate :math:`\gamma/K` and their deviations at
    :math:`(\alpha + \beta/(K-1))/K`. Both rates are read off between two moments s and t as
    :math:`\log(\langle u_t, u_0\rangle / \langle u_s, u_0\rangle) / (t - s)`, with inner products over pairs of
    different images, so that the scatter of single images does not pass for a common direction; :math:`u_0` is at the
    first moment.

    Args:
        outputs: Features or logits of the same images at every moment ``(T, n, p)``.
        labels: Their classes ``(n,)``; at least three images of each.
        times: Moments ``(T,)``, rising: steps times the learning rate, epochs, or whatever the rates are to be per.
        model: ``"features"`` or ``"logits"``.
        specimen: What to call the network in pictures.

    Returns:
        One row per pair of neighboring moments: ``begin``, ``end``, ``alpha``, ``beta``, ``gamma`` (per unit of time,
        their means between the two), ``alpha_sum``, ``beta_sum``, ``gamma_sum`` (integrals from the first moment to
        ``end``, no unit), each with ``_se`` over images (jackknife within classes: an image leaves with its whole
        path), ``n``, ``status``.

    Raises:
        ArgumentError: Shapes do not fit, times do not rise, a class has fewer than three images, or the logits are
            not as many as the classes.

    The error is over images, the training held fixed: another order of its steps is not in it. Where a mean turns
    around or vanishes there is no rate, and the row says so. With K = 2 margins and features are the same up to signs.

    Cost: n jackknife passes over K × T class means.

    Exact case: class means that follow the equation with constant :math:`\alpha, \beta` are given back exactly.

    Source: Zhang, Wang and Su, *Imitating deep learning dynamics via locally elastic stochastic differential equations*
        (2021), with their two models. Their code reads integrals off class means coordinate by coordinate, the model of
        logits for three classes only, and gives no errors; ours takes inner products, any number of classes.
    """
    values, classes, moments = _checked(outputs, labels, times, model)
    paths = _Paths(values if model == "features" else _margins(values, classes), classes)
    whole = paths.integrals(None, model)
    members = [np.flatnonzero(classes == k).tolist() for k in range(paths.count)]
    without = [np.stack([paths.integrals(i, model) for i in those]) for those in members]
    gaps = np.diff(moments)
    rates, rates_se = np.diff(whole) / gaps, _within([np.diff(part) / gaps for part in without])
    sums_se = _within(without)
    rows = []
    for at in range(len(gaps)):
        row: dict[str, Any] = {"begin": moments[at], "end": moments[at + 1]}
        for i, name in enumerate(_NAMES):
            row |= {name: rates[i, at], f"{name}_se": rates_se[i, at]}
        for i, name in enumerate(_SUMS):
            row |= {name: whole[i, at + 1], f"{name}_se": sums_se[i, at + 1]}
        is_fine = np.isfinite(rates[:, at]).all()
        rows.append(row | {"n": len(classes), "status": MEASURED if is_fine else _TURNED})
    count = paths.count
    about = {"specimen": {"name": specimen}, "settings": {"model": model, "classes": count, "source": "outputs"}}
    return Result("impacts", QUESTION, pd.DataFrame(rows), {}, _UNITS, about)


def impacts_of_kernels(measured: Sequence[Result], *, similarity: str = "kernel") -> Result:
    r"""While it learns: how strongly does a step on an image of one class, and of others, move a prediction?

    To first order a step on image i moves the prediction at j by :math:`-\eta K_{ij}\, \partial L/\partial f(x_i)`. In
    a network that is locally elastic by class alone, K is :math:`\alpha` within classes and :math:`\beta` between them;
    here they are the means over pairs of different images,

    .. math::
        \alpha = \mathrm{E}[K_{ij} \mid y_i = y_j], \qquad \beta = \mathrm{E}[K_{ij} \mid y_i \ne y_j], \qquad
        \gamma = \alpha - \beta.

    Args:
        measured: Results of ``flexure.elasticity`` on the same images, one per moment: those of a monitor
            (``flexure.monitors.read_steps(folder, "elasticity")``), or several checkpoints, in order.
        similarity: Which of their arrays; ``"cosine"`` takes the size of the gradients out.

    Returns:
        One row per moment: ``begin`` and ``end`` (the step that a monitor noted, else the place in order; equal),
        ``alpha``, ``beta``, ``gamma`` in the similarity's unit, each with ``_se`` over images (jackknife: an image
        leaves with all its pairs), ``n``, ``status``.

    Raises:
        ArgumentError: There are no results, one knows no classes, or its matrix is not square.

    What differs from :func:`impacts`: nothing is fitted to a path. The equation of the paper has the features of an
    image where a step has the slope of the loss, so the two agree in sign and course, not in size.

    Cost: one pass over each matrix.

    Exact case: of a linear network on features whose inner products are a within classes and b between them, a and b.

    Source: Zhang, Wang and Su (2021) for the meaning of both; He and Su (2020) for the kernel.
    """
    if not measured:
        raise ArgumentError("impacts_of_kernels: no results; expected one of elasticity per moment.")
    rows = []
    for place, one in enumerate(measured):
        step = (one.provenance.get("monitor") or {}).get("step", place)
        rows.append({"begin": float(step), "end": float(step), **_of_kernel(one, similarity)})
    last = measured[-1].provenance
    about = {key: last[key] for key in ("specimen", "data", "seed") if key in last}
    about |= {"settings": {"similarity": similarity, "source": "kernels"}}
    return Result("impacts", QUESTION, pd.DataFrame(rows), {}, _UNITS, about)


_UNITS = dict.fromkeys((f"{name}{end}" for name in _NAMES for end in ("", "_se")), "rate") | {"n": "images"}


# From kernels


def _of_kernel(measured: Result, similarity: str) -> dict[str, Any]:
    values, labels = np.asarray(measured[similarity], dtype=float), measured.arrays.get("labels")
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ArgumentError(f"impacts_of_kernels: {similarity!r} is of shape {values.shape}; expected a square matrix.")
    if labels is None or labels.shape != (len(values),):
        raise ArgumentError("impacts_of_kernels: a result knows no classes of its images; measure images with labels.")
    known = np.flatnonzero(labels >= 0)
    whole, same = PairSums.of([(0, values[np.ix_(known, known)])], labels[known])
    (alpha, less_alpha), (beta, less_beta) = same.means(), whole.less(same).means()
    found: dict[str, Any] = {}
    without = (less_alpha, less_beta, less_alpha - less_beta)
    for name, value, left in zip(_NAMES, (alpha, beta, alpha - beta), without, strict=True):
        found |= {name: value, f"{name}_se": jackknife(left)}
    status = MEASURED if np.isfinite(alpha - beta) else "no pairs within a class, or none between two"
    return found | {"n": int(whole.is_in.sum()), "status": status}


# From paths


def _checked(outputs: Any, labels: Any, times: Any, model: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs, classes numbered from 0, moments."""
    values, moments, classes = np.asarray(outputs, dtype=float), np.asarray(times, dtype=float), np.asarray(labels)
    if model not in MODELS:
        raise ArgumentError(f"impacts: no model {model!r}. {nearest(model, MODELS)}")
    if values.ndim != 3 or values.shape[0] != len(moments) or classes.shape != values.shape[1:2] or len(moments) < 2:
        raise ArgumentError(
            f"impacts: outputs are of shape {values.shape}, labels of {classes.shape}, times of {moments.shape}; "
            "expected (T, n, p), (n,) and (T,), at least two moments."
        )
    if not (np.diff(moments) > 0).all():
        raise ArgumentError("impacts: times must rise from one moment to the next.")
    if not np.isfinite(values).all():
        at = int(np.argwhere(~np.isfinite(values))[0, 1])
        raise ArgumentError(f"impacts: outputs must be finite; those of image {at} are not. Leave it out.")
    named, classes = np.unique(classes, return_inverse=True)
    counts = np.bincount(classes)
    if len(named) < 2 or counts.min() < 3:
        few = named[counts.argmin()]
        raise ArgumentError(
            f"impacts: expected several classes of at least three images each; got {len(named)}, and class {few} has "
            f"{counts.min()}."
        )
    if model == "logits" and values.shape[2] != len(named):
        raise ArgumentError(
            f"impacts: model='logits' needs an output for each of {len(named)} classes; got {values.shape[2]}."
        )
    return values, classes, moments


def _margins(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How far an image's logit of its own class lies above the mean of all, so that one at 1 and others at 0 have 1."""
    own = np.take_along_axis(values, classes[None, :, None], axis=2)
    count = values.shape[2]
    return (own - values.mean(2, keepdims=True)) * count / (count - 1)


class _Paths:
    """What images go through, and the integrals that follow; class means may leave out an image.

    Inner products of class means with those at the first moment are taken over pairs of different images: of an image
    with itself they would hold its own scatter, which is no direction that the class has in common.
    """

    def __init__(self, values: np.ndarray, classes: np.ndarray) -> None:
        self._values, self._classes = values, classes
        self.count = int(classes.max()) + 1
        one = np.eye(self.count)[classes]
        self._sizes = one.sum(0)
        self._sums = np.einsum("tnp,nk->tkp", values, one)
        self._own = np.einsum("tnp,np->tn", values, values[0])
        self._owns = self._own @ one

    def integrals(self, without: int | None, model: str) -> np.ndarray:
        """Of alpha, beta and gamma from the first moment on ``(3, T)``; NaN where a mean has turned around."""
        along, apart = self._products(without)
        with np.errstate(invalid="ignore", divide="ignore"):
            of_mean, of_rest = (self.count * np.log(part / part[0]) for part in (along, apart))
        k = self.count
        if model == "features":
            gamma, beta = of_rest, (of_mean - of_rest) / k
        else:
            gamma, beta = of_mean, (of_rest - of_mean) * (k - 1) / k
        found = np.stack([gamma + beta, beta, gamma])
        return np.where(np.isfinite(found), found, np.nan)

    def _products(self, without: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Of the mean over classes, and of the deviations from it, with what they were at first ``(T,)``."""
        sums, owns, sizes = self._sums, self._owns, self._sizes
        if without is not None:
            k = self._classes[without]
            sums, owns, sizes = sums.copy(), owns.copy(), sizes.copy()
            sums[:, k] -= self._values[:, without]
            owns[:, k] -= self._own[:, without]
            sizes[k] -= 1
        means = sums / sizes[:, None]
        with_first = (means * means[0]).sum(2)
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = ((owns / sizes - with_first) / (sizes - 1)).sum(1)
        center = (means.mean(1) * means[0].mean(0)).sum(1)
        k = self.count
        return center - excess / k**2, with_first.sum(1) - k * center - excess * (1 - 1 / k)


def _within(without: Sequence[np.ndarray]) -> np.ndarray:
    """Standard errors from estimates without each image, class by class."""
    return np.sqrt(sum((len(part) - 1) / len(part) * ((part - part.mean(0)) ** 2).sum(0) for part in without))
