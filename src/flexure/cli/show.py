"""What every command does to speak: tables, estimates, sentences, the page."""

import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flexure.errors import ArgumentError

if TYPE_CHECKING:
    from flexure.results import Result, Run

__all__ = ["as_table", "estimate", "is_main", "numbers", "page", "say", "show", "stderr", "stdout"]

_LAYERS = 8  # of a table with a row per layer, at most
_EARLIER = ("_init", "_before")  # what columns of a network before its training end in


def page(folders: Iterable[Path], to: Path, title: str | None = None) -> Path:
    """Draw the page of these folders; returns where it lies."""
    from flexure.page import report as draw

    return draw(*folders, to=to, title=title)


def show(run: "Run") -> None:
    """What every result comes down to: the output's row, or a row per layer or point; and where everything lies."""
    if not is_main() or run.folder is None or not run.results:
        return
    is_trained = not {"initial", "net"}.isdisjoint(run.spec)
    titles = ("before training", "after training") if is_trained else ("initialized", "measured")
    for result in run.results.values():
        if (summary := _summary(result, *titles)) is not None:
            stdout().print(summary)
        for note in result.notes:
            print(f"note: {note}")
    print(f"run folder: {run.folder}")
    print(f"page: {page([run.folder], run.folder / 'report.html')}")


def _summary(result: "Result", before: str, after: str) -> "Table | Text | None":
    """The output's estimates where it has one row, else one estimate of every point or layer; None: no rows."""
    rows = result.to_frame()
    names = [name for name in map(str, rows) if f"{name}_se" in rows and not name.endswith(_EARLIER)]
    if rows.empty or not names:
        return None
    if "layer" in rows and len(rows) > 1 and (rows["layer"] == "output").all():
        return _points_table(result.probe, rows, names, before, after)
    if "layer" not in rows or rows["layer"].iloc[-1] == "output":
        return _output_table(result.probe, rows.iloc[-1], names, before, after)
    known = rows[rows[names[0]].notna()]
    if known.empty:
        return Text(f"{result.probe}: nothing to measure ({rows['status'].iloc[-1]})")
    last = f" at step {known['step'].iloc[-1]:,}" if result.probe.startswith("monitor_") and "step" in known else ""
    known = known[known["step"] == known["step"].iloc[-1]] if last else known
    if "interval" in known and (ways := known[["interval", "scope", "index"]].drop_duplicates()).shape[0] > 1:
        apart = [name for name in ways if ways[name].nunique() > 1]
        known = known.assign(layer=known[["layer", *apart]].agg(", ".join, axis=1))
    title = names[0] if names[0] == result.probe else f"{result.probe} {names[0]}"
    return _layers_table(title + last, known, names[0], before, after)


def _output_table(probe: str, last: Any, names: list[str], before: str, after: str) -> Table:
    """Estimates at the output: a row each, beside those of initialized networks where there are any."""
    compared = any(f"{name}_init" in last.index for name in names)
    table = Table("output", *([before] if compared else []), after, box=None, pad_edge=False)
    for name in names:
        initial = estimate(last, f"{name}_init") if f"{name}_init" in last.index else Text("")
        table.add_row(Text(f"{probe} {name}"), *([initial] if compared else []), estimate(last, name))
    return table


def _points_table(probe: str, rows: Any, names: list[str], before: str, after: str) -> Table:
    """One estimate at the output, a row for each point that was measured, named by what sets it apart."""
    facts = rows[rows.columns[: rows.columns.get_loc(names[0])]]
    apart = [str(name) for name in facts if facts[name].nunique() > 1][:2]
    records = facts.to_dict("records")
    labels = [", ".join(_fact(name, row[name]) for name in apart if row[name] == row[name]) for row in records]
    name = "R" if "R" in names else names[0]
    most = len(rows) if "attack" in apart else _LAYERS  # an attack's number is not shown without the others'
    return _layers_table(f"{probe} {name}", rows.assign(layer=labels), name, before, after, what="points", most=most)


def _fact(name: str, value: Any) -> str:
    return value if isinstance(value, str) else f"{name} {value:.3g}"


def _layers_table(
    title: str, rows: Any, name: str, before: str, after: str, what: str = "layers", most: int = _LAYERS
) -> Table:
    """One estimate, a row per layer; of many those at either end."""
    earlier = next((f"{name}{end}" for end in _EARLIER if f"{name}{end}" in rows), "")
    compared = bool(earlier)
    table = Table(title, *([before] if compared else []), after, box=None, pad_edge=False)
    left_out = max(len(rows) - most, 0)
    for number, (_, row) in enumerate(rows.iterrows()):
        if left_out and number == most // 2:
            table.add_row(Text(f"({left_out} more {what})"))
        if not left_out or not 0 <= number - most // 2 < left_out:
            initial = [estimate(row, earlier)] if compared else []
            table.add_row(Text(str(row["layer"])), *initial, estimate(row, name))
    return table


def estimate(row: Any, name: str) -> Text:
    """Value ± standard error, the error to two digits: ``0.0123 ± 0.0045``; a dash where there is no value."""
    value, error = float(row[name]), float(row[f"{name}_se"])
    if math.isnan(value):
        return Text("–")
    if not (math.isfinite(value) and math.isfinite(error)):
        return Text(f"{value:.3g} ± {error:.2g}")
    digits = min(max(1 - math.floor(math.log10(error)), 0), 12) if error > 0 else 3
    return Text(f"{value:.{digits}f} ± {error:.{digits}f}")


def as_table(frame: Any) -> Table:
    """A frame as it is, numbers in groups of three digits."""
    table = Table(*frame.columns, box=None, pad_edge=False)
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return table


def say(text: str) -> None:
    """Print a sentence, once for all processes."""
    if is_main():
        print(text, flush=True)


def is_main() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def stdout() -> Console:
    """Where results go; wide where nobody looks on."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """Where progress goes."""
    return Console(stderr=True, highlight=False)


def numbers(name: str, text: str | None, *counts: int) -> Any:
    """``224`` as a number, ``3x224x224`` as a tuple; None where nothing was given."""
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in counts or not all(part.isdecimal() and int(part) for part in parts):
        form = "CxHxW, such as 3x224x224" if counts == (3,) else "N or HxW, such as 224 or 224x320"
        raise ArgumentError(f"{name}: expected {form}; got {text!r}.")
    return int(parts[0]) if len(parts) == 1 else tuple(map(int, parts))
