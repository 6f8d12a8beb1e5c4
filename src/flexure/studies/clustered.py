"""What the studies read off a network's elasticity by clustering: how well images fall into their classes."""

from functools import cache
from pathlib import Path

import flexure
from flexure.analysis.baselines import baselines
from flexure.errors import ArgumentError, nearest
from flexure.runs.train import as_measured

__all__ = ["BY", "accuracy"]

_SIMILARITIES = ("kernel", "relative")
_DESCRIPTIONS = ("pixels", "pca", "autoencoder", "features")
BY = (*_SIMILARITIES, *_DESCRIPTIONS)
"""What images can be clustered by; ``features`` are those of the last hidden layer with an activation function."""

_EPOCHS = 2  # of the autoencoder, per image that may be measured


def accuracy(run: flexure.Run, by: str) -> float:
    """How well the images on which a trained network's elasticity was measured fall into two clusters, by this.

    Similarities are clustered as the paper does it: relative ones by K-means on rows, kernels by kernel K-means; every
    description by K-means.

    Args:
        run: A training in a folder, with the result of ``elasticity``.
        by: One of :data:`BY`.

    Returns:
        Share of images under the better matching of clusters with classes, in [0.5, 1].

    Raises:
        ArgumentError: There is nothing of that name, or the run lies in no folder.

    Cost: some seconds; for the codes of an autoencoder its training. Done once for each run in a process.
    """
    if by not in BY:
        raise ArgumentError(f"clusters: by no {by!r}. {nearest(by, BY)}")
    if run.folder is None:
        raise ArgumentError(f"run {run.name!r}: lies in no folder, so its images cannot be read again.")
    scores = _of_similarities if by in _SIMILARITIES else _of_autoencoder if by == "autoencoder" else _of_descriptions
    return scores(run.folder, _stamp(run.folder))[by]


def _stamp(folder: Path) -> int:
    """Tells a measurement from one that was put in its place."""
    return (folder / "elasticity.parquet").stat().st_mtime_ns


@cache
def _of_similarities(folder: Path, stamp: int) -> dict[str, float]:
    found = flexure.cluster(flexure.read(folder)["elasticity"], similarity=_SIMILARITIES)
    return _by_name(found)


@cache
def _of_descriptions(folder: Path, stamp: int) -> dict[str, float]:
    run = flexure.read(folder)
    specimen, images = as_measured(run)
    described = baselines(images, specimen, layers="*relu*")
    last = [name for name in described if name.startswith("layer:")][-2]  # the very last is the output
    chosen = {"pixels": described["pixels"], "pca": described["pca"], "features": described[last]}
    return _by_name(flexure.cluster(run["elasticity"], similarity="kernel", features=chosen))


@cache
def _of_autoencoder(folder: Path, stamp: int) -> dict[str, float]:
    run = flexure.read(folder)
    codes = baselines(as_measured(run)[1], components=0, autoencoder=_EPOCHS * run.spec["measure_limit"])
    codes.pop("pixels")
    return _by_name(flexure.cluster(run["elasticity"], similarity="kernel", features=codes))


def _by_name(found: flexure.Result) -> dict[str, float]:
    return dict(zip(found.table["similarity"], map(float, found.table["accuracy"]), strict=True))
