"""What a training found out, as a result: one row per epoch."""

from collections.abc import Mapping
from dataclasses import asdict

import pandas as pd

from flexure.bench import Mounted
from flexure.data import Images, content_hash, notes_of
from flexure.losses import unit_of
from flexure.probes._provenance import provenance
from flexure.results import MEASURED, Result
from flexure.training import History, Recipe

__all__ = ["NOT_TESTED", "TRAINING", "as_result"]

TRAINING = "training"
QUESTION = "How did it learn: loss and accuracy after each pass over the training images?"
NOT_TESTED = "not tested after this epoch"

_FRACTION = "fraction of images"
_COUNT = "images"


def as_result(
    history: History,
    mounted: Mounted,
    images: Images,
    test: Images | None,
    recipe: Recipe,
    *,
    weights: Mapping[str, str],
    notes: tuple[str, ...] = (),
) -> Result:
    """The result of a training that has ended.

    Args:
        history: What the loop gave.
        mounted: The network after it.
        images: What it was trained on.
        test: What it was tested on.
        recipe: How.
        weights: Hashes of the weights ``initial`` and ``last``.
        notes: Further sentences.
    """
    table = pd.DataFrame([asdict(record) for record in history.records])
    table["status"] = [MEASURED if test is None or n else NOT_TESTED for n in table["test_n"]]
    about = provenance(mounted, images, recipe.settings())
    about["test"] = None if test is None else {"name": test.name, "n": len(test), "hash": content_hash(test)}
    about |= {"weights": dict(weights), "ended": history.ended, "best_epoch": history.best_epoch}
    return Result(
        TRAINING, QUESTION, table, units=_units(recipe), provenance=about, notes=_notes(history, images, recipe) + notes
    )


def _units(recipe: Recipe) -> dict[str, str]:
    loss = unit_of(recipe.loss)
    units = {"epoch": "passes over the training images", "lr": "step size", "n": _COUNT, "test_n": _COUNT}
    for part in ("", "test_"):
        units |= {f"{part}loss": loss, f"{part}loss_se": loss, f"{part}skipped": _COUNT}
        units |= {f"{part}accuracy": _FRACTION, f"{part}accuracy_se": _FRACTION}
    return units


def _notes(history: History, images: Images, recipe: Recipe) -> tuple[str, ...]:
    found = [] if len(history) == recipe.epochs else [f"Ended early: {history.ended}."]
    if history.best_epoch is not None:
        found.append(
            "The best weights were chosen by looking at the test images: their accuracy is no estimate for others."
        )
    if history.records and (skipped := history.records[-1].skipped):
        which = "1 training image" if skipped == 1 else f"{skipped} training images"
        found.append(f"{which} could not be read, left out of every epoch.")
    return (*found, *notes_of(images))
