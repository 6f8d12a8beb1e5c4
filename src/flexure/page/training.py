"""What the page says about a training: how good it became, the curves, the epochs, and how it was done."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flexure.charts.records import column
from flexure.charts.scales import Z95
from flexure.charts.theme import colors
from flexure.charts.training import thinned
from flexure.page.embed import Picture, pictures
from flexure.page.facts import settings_of
from flexure.page.numbers import Number, number
from flexure.results import Result

__all__ = ["Contents", "Outcome", "Table", "contents"]

_HEIGHTS = {"accuracy": 320, "loss": 320}
_ROWS = 60  # epochs in a table

_WORDS = {
    "epochs": "epochs, at most", "lr": "first step size", "batch_size": "images per step", "optimizer": "optimizer",
    "momentum": "momentum", "nesterov": "Nesterov’s", "weight_decay": "weight decay", "decay": "what decays",
    "schedule": "schedule", "loss": "loss", "penalty": "penalty", "augment": "changes of images",
    "corruption": "corruption of images", "precision": "numbers", "stop": "early stop",
}  # fmt: skip
_NAMES = {"sgd": "SGD", "adam": "Adam", "matrices": "all but biases and batch norms", "all": "all parameters"}


@dataclass(frozen=True)
class Outcome:
    """How one training ended.

    Attributes:
        name: The run.
        color: Its color in the pictures.
        value, interval: Accuracy on the test images after the last epoch; without any, on the training images.
        what: Which of the two.
        training: Accuracy on the training images in the last epoch, where the other is there too.
        best: Best accuracy on the test images and its epoch, where it was not the last.
        epochs: Epochs made.
        ended: Why there are no more.
    """

    name: str
    color: str
    value: Number | None
    interval: str
    what: str
    training: Number | None
    best: tuple[Number | None, int] | None
    epochs: int
    ended: str


@dataclass(frozen=True)
class Table:
    """One run's epochs: number, step size, images, then loss and accuracy on training and test images."""

    name: str
    rows: list[tuple[str, Number | None, str, list[Number | None]]]
    left_out: int
    tested: bool


@dataclass(frozen=True)
class Contents:
    """Everything the template of this panel needs."""

    outcomes: list[Outcome]
    pictures: list[Picture]
    tables: list[Table]
    setup: list[tuple[str, list[str]]]


def contents(results: Sequence[Result], labels: Sequence[str]) -> Contents:
    """The panel's content for these results, one per run."""
    return Contents(
        outcomes=list(map(_outcome, results, labels, colors(len(results)))),
        pictures=pictures(results, labels, _HEIGHTS),
        tables=[_table(result, label) for result, label in zip(results, labels, strict=True)],
        setup=_setup(results),
    )


def _outcome(result: Result, label: str, color: str) -> Outcome:
    tested = [i for i, n in enumerate(column(result, "test_n", 0)) if n]
    prefix, at = ("test_", tested[-1]) if tested else ("", len(result) - 1)
    value, error = column(result, f"{prefix}accuracy")[at], column(result, f"{prefix}accuracy_se")[at]
    return Outcome(
        name=label,
        color=color,
        value=number(value, error),
        interval=_interval(value, error),
        what="on the test images" if tested else "on the training images",
        training=number(column(result, "accuracy")[-1], column(result, "accuracy_se")[-1]) if tested else None,
        best=_best(result, at) if tested else None,
        epochs=len(result),
        ended=str(result.provenance.get("ended") or ""),
    )


def _interval(value: float | None, error: float | None) -> str:
    """The 95 % interval of a share, which ends at 0 and 1."""
    shown = number(value, error)
    if value is None or error is None or shown is None:
        return ""
    low, high = max(value - Z95 * error, 0.0), min(value + Z95 * error, 1.0)
    places = len(shown.value.partition(".")[2])
    return f"{low:.{places}f} to {high:.{places}f}"


def _best(result: Result, last: int) -> tuple[Number | None, int] | None:
    epoch = result.provenance.get("best_epoch")
    epochs = column(result, "epoch")
    if not isinstance(epoch, int) or epoch not in epochs or epochs.index(epoch) == last:
        return None
    at = epochs.index(epoch)
    return number(column(result, "test_accuracy")[at], column(result, "test_accuracy_se")[at]), epoch


def _table(result: Result, label: str) -> Table:
    tested = any(column(result, "test_n", 0))
    prefixes = ("", "test_") if tested else ("",)
    names = [f"{prefix}{name}" for prefix in prefixes for name in ("loss", "accuracy")]
    columns = [
        [number(*pair) for pair in zip(column(result, name), column(result, f"{name}_se"), strict=True)]
        for name in names
    ]
    kept = thinned(len(result), _ROWS)
    epochs, lr, counts = (column(result, name) for name in ("epoch", "lr", "n"))
    rows = [(f"{epochs[i]:,}", number(lr[i]), f"{counts[i]:,}", [values[i] for values in columns]) for i in kept]
    return Table(label, rows, len(result) - len(kept), tested)


def _setup(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """How each was trained, a phrase per run."""
    rows: dict[str, list[str]] = {
        "training images": [_images(result.provenance.get("data")) for result in results],
        "test images": [_images(result.provenance.get("test")) for result in results],
    }
    settings = [settings_of(result) for result in results]
    decays = any(own.get("weight_decay") for own in settings)
    for key, words in _WORDS.items():
        if key == "decay" and not decays:
            continue
        rows[words] = [_phrase(own.get(key)) for own in settings]
    rows["seed"] = [_phrase(result.provenance.get("seed")) for result in results]
    rows["device"] = [_device(result) for result in results]
    return [(words, values) for words, values in rows.items() if set(values) != {"none"}]


def _images(about: Any) -> str:
    return f"{about['n']:,} of {about['name']}" if isinstance(about, dict) and "n" in about else "none"


def _phrase(value: Any) -> str:
    if value is None or value is False or value == []:
        return "none"
    if value is True:
        return "yes"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return (
        _NAMES.get(str(value), str(value))
        if isinstance(value, str)
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4g}"
    )


def _device(result: Result) -> str:
    parts = [result.provenance.get("device"), result.provenance.get("dtype")]
    return ", ".join(str(part) for part in parts if part) or "none"
