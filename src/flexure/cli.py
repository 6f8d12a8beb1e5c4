"""The command line: parse, call, print, exit code. Whatever is heavy is imported inside the command that needs it."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

import flexure
from flexure.errors import ArgumentError, FlexureError

if TYPE_CHECKING:
    from flexure.results import Progress, Result, Run
    from flexure.runs.request import Request

__all__ = ["app", "main", "run"]

STOPPED = 130
QUIET, PAUSE = 2.0, 10.0  # seconds before the first word about progress, and between two lines of it
Names = list[str] | None

app = App(
    name="flexure",
    version=flexure.__version__,
    help="A test bench for trained neural networks: how far does each layer move, with an error bar on every number.",
    help_epilogue="FLEXURE_DEBUG=1 in the environment shows where an error comes from.",
    help_format="plaintext",
    error_formatter=lambda wrong: Text(f"flexure: {wrong}"),
    suppress_keyboard_interrupt=False,
    result_action="return_value",
    default_parameter=Parameter(negative=(), show_choices=False),
)


def flag(help: str, default: str = "", **more: Any) -> Parameter:
    """A flag that is None where it is not given; ``default`` is what the help says happens then."""
    return Parameter(help=help, show_default=(lambda _: default) if default else False, **more)


_MODEL = flag("timm:NAME, torchvision:NAME, FILE.py:FACTORY, FILE.pt2, or one of our nets (resnet20).")
Weights = Annotated[str | None, flag("A .safetensors, or a .pt, .pth, .ckpt without pickled code; or pretrained.")]
Size = Annotated[str | None, flag("Bring images to N×N (224) or H×W (224x320).", "what the network was made for")]
Normalization = Annotated[str | None, flag("cifar10, imagenet, none, or MEAN/STD.", "what the network brings")]
Classes = Annotated[int | None, flag("Outputs of the network, where that can be chosen.")]
Trust = Annotated[bool, flag("Open an exported program (.pt2), which may run code that is in it.")]


@app.command
def examine(
    model: Annotated[str | None, _MODEL] = None,
    /,
    *,
    weights: Weights = None,
    initial: Annotated[str | None, flag("Weights of the same network before training, to compare with.")] = None,
    data: Annotated[str | None, flag("digits, mnist, cifar10, folder:PATH, hub:NAME, …")] = None,
    root: Annotated[str | None, flag("Folder in which data sets lie.", "~/data")] = None,
    split: Annotated[str | None, flag("Part of the data set.", "test")] = None,
    probe: Annotated[Names, flag("Questions to ask.", "those that are not expensive", consume_multiple=True)] = None,
    limit: Annotated[int | None, flag("Measure a seeded, class-balanced sample of this size.", "all images")] = None,
    batch_size: Annotated[int | None, flag("Rows of one forward pass, at most.", "64")] = None,
    image_size: Size = None,
    normalize: Normalization = None,
    num_classes: Classes = None,
    seed: Annotated[int | None, flag("Every random number follows from it.", "0")] = None,
    device: Annotated[str | None, flag("auto, cpu, cuda, cuda:1, …", "auto")] = None,
    dtype: Annotated[str | None, flag("float32, float64, bfloat16 or float16.", "float32")] = None,
    out: Annotated[Path | None, flag("Run folder.", "a fresh runs/MODEL-DATA")] = None,
    resume: Annotated[bool, flag("Go on with the run in --out, which need not be described again.")] = False,
    settings: Annotated[Names, flag("Options, as PROBE.OPTION=VALUE.", name="--set", consume_multiple=True)] = None,
    config: Annotated[Path | None, flag("YAML file with all this, such as a run's spec.yaml; flags win.")] = None,
    trust: Trust = False,
    download: Annotated[bool, flag("Fetch a data set that is not under --root.")] = False,
) -> int:
    """Measure a network layer by layer; write a run folder and one page.

    Without arguments, train a small network on scikit-learn's digits and measure it before and after.
    """
    from flexure.runs.request import request

    size = _numbers("--image-size", image_size, 1, 2)
    fields = {
        "model": model,
        "weights": weights,
        "initial": initial,
        "data": data,
        "root": root,
        "split": split,
        "limit": limit,
        "batch_size": batch_size,
        "image_size": size,
        "normalize": normalize,
        "num_classes": num_classes,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "trust": trust or None,
        "download": download or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    asked = request(given, probes=probe or (), settings=settings or (), config=config, out=out, resume=resume)
    return _carry_out(asked)


@app.command
def layers(
    model: Annotated[str, _MODEL],
    /,
    *,
    weights: Weights = None,
    image_size: Size = None,
    shape: Annotated[str | None, flag("Shape of an input, as C×H×W (3x224x224).", "what the network tells")] = None,
    blocks: Annotated[bool, flag("List the modules that hold others, instead of the ops.")] = False,
    num_classes: Classes = None,
    trust: Trust = False,
) -> None:
    """List every op of a network, with what can be measured there, and why the rest cannot."""
    size, form = _numbers("--image-size", image_size, 1, 2), _numbers("--shape", shape, 3)
    specimen = flexure.resolve(model, weights=weights, image_size=size, num_classes=num_classes, trust=trust)
    found = flexure.layers(specimen, shape=form, blocks=blocks)
    _stdout().print(_as_table(found.to_frame()), soft_wrap=True)


@app.command
def report(
    folders: Annotated[list[Path], flag("Run folders, shown side by side.")],
    /,
    *,
    to: Annotated[Path | None, flag("Page to write.", "report.html in the folder; compare.html for several")] = None,
    title: Annotated[str | None, flag("Title of the page.")] = None,
) -> None:
    """Draw one self-contained page from one or several run folders."""
    where = to or (folders[0] / "report.html" if len(folders) == 1 else Path("compare.html"))
    print(f"page: {_page(folders, where, title)}")


@app.command
def doctor() -> int:
    """Say which versions and devices there are, what is missing and how to get it; also without torch."""
    from flexure.runs.doctor import examine_installation

    findings = examine_installation()
    table = Table("", "what", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        mark = Text("!!", "bold red") if not finding.fine else Text("--" if finding.advice else "ok", "green")
        table.add_row(mark, Text(finding.what), Text(finding.state), Text(finding.advice))
    _stdout().print(table, soft_wrap=True)
    return 0 if all(finding.fine for finding in findings) else 1


def main() -> None:
    """Run the command that this program was called with, and exit.

    Threads that wait give way: where others compute too, torch's habit of waiting busily makes small networks ten times
    slower. The variable has to be set before torch is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))


def run(tokens: Sequence[str]) -> int:
    """Run one command; returns the exit code.

    0: done. 1: it could not be done. 2: something in the command is wrong. 130: it was stopped.
    """
    try:
        with _stopped_politely():
            return app(tokens, exit_on_error=False) or 0
    except CycloptsError:
        return 2  # cyclopts has said why
    except FlexureError as wrong:
        if os.environ.get("FLEXURE_DEBUG"):
            raise
        code = 2 if isinstance(wrong, ArgumentError) else 1
        if code == 1 or _is_main():
            print(f"flexure: {wrong}", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return STOPPED


def _carry_out(asked: "Request") -> int:
    """Measure, tell how it goes, draw the page of what there is."""
    from flexure import distributed
    from flexure.runs.examine import IncompleteRunError

    with distributed.start():
        asked = asked.agreed()
        watch = _Watch(_stderr())
        try:
            done = asked.carry_out(progress=watch, say=_say)
        except KeyboardInterrupt:
            _explain_stop(asked.out)
            raise
        except IncompleteRunError as wrong:
            print(f"flexure: {wrong}", file=sys.stderr)
            _show(wrong.run)
            return 1
        finally:
            watch.close()
    _show(done)
    return 0


def _explain_stop(folder: Path) -> None:
    if _is_main() and (folder / "spec.yaml").is_file():
        from flexure.runs.environment import command_line

        program = "__main__.py" if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" else "flexure"
        again = command_line([program, "examine", "--out", str(folder), "--resume"])
        print(f"stopped; what is finished is in {folder}. Go on with: {again}", file=sys.stderr)


def _page(folders: Iterable[Path], to: Path, title: str | None = None) -> Path:
    from flexure.page import report as draw

    return draw(*folders, to=to, title=title)


def _show(run: "Run") -> None:
    """The last row of every result, which is the network's output, and where everything lies."""
    if not _is_main() or run.folder is None or not run.results:
        return
    for result in run.results.values():
        _stdout().print(_output_table(result, "before training" if "initial" in run.spec else "initialized"))
        for note in result.notes:
            print(f"note: {note}")
    print(f"run folder: {run.folder}")
    print(f"page: {_page([run.folder], run.folder / 'report.html')}")


def _output_table(result: "Result", other: str) -> Table:
    """Estimates at the output: a row each, beside those of initialized networks where there are any."""
    last = result.to_frame().iloc[-1]
    names = [name for name in last.index if f"{name}_se" in last.index and not name.endswith("_init")]
    compared = any(f"{name}_init" in last.index for name in names)
    table = Table("output", *([other] if compared else []), "measured", box=None, pad_edge=False)
    for name in names:
        before = [_estimate(last, f"{name}_init")] if compared else []
        table.add_row(Text(f"{result.probe} {name}"), *before, _estimate(last, name))
    return table


def _estimate(row: Any, name: str) -> Text:
    """Value ± standard error, the error to two digits: ``0.0123 ± 0.0045``."""
    value, error = float(row[name]), float(row[f"{name}_se"])
    if not (math.isfinite(value) and math.isfinite(error)):
        return Text(f"{value:.3g} ± {error:.2g}")
    digits = min(max(1 - math.floor(math.log10(error)), 0), 12) if error > 0 else 3
    return Text(f"{value:.{digits}f} ± {error:.{digits}f}")


def _as_table(frame: Any) -> Table:
    table = Table(*frame.columns, box=None, pad_edge=False)
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    return table


class _Watch:
    """Tells how far each probe is: a bar in a terminal, else a line now and then; nothing about what is quick."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}
        self._spoke = 0.0

    def __call__(self, name: str) -> "Progress":
        return partial(self._tell, name, time.monotonic(), {})

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _tell(self, name: str, began: float, steps: dict[int, float], done: int, total: int) -> None:
        now = time.monotonic()
        if done <= max(steps, default=0):  # the next network: from the beginning again
            steps.clear()
        steps[done] = now
        if now - began < QUIET or not _is_main():
            return
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._draw(name, done, total)
        elif len(steps) > 1 and done < total and now - self._spoke >= PAUSE:
            self._spoke = now
            first = min(steps)  # what came before is not the pace of the rest
            left = (now - steps[first]) / (done - first) * (total - done)
            self.console.print(f"{name}: {done:,} of {total:,} ({done / total:.0%}), about {left:,.0f} s left")

    def _draw(self, name: str, done: int, total: int) -> None:
        if self._bars is None:
            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bars = Bars(*columns, console=self.console, transient=True)
            self._bars.start()
            self._tasks = {}
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name)
        self._bars.update(self._tasks[name], completed=done, total=total)


def _say(text: str) -> None:
    if _is_main():
        print(text, flush=True)


def _is_main() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _stdout() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


def _numbers(name: str, text: str | None, *counts: int) -> Any:
    """``224`` as a number, ``3x224x224`` as a tuple; None where nothing was given."""
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) not in counts or not all(part.isdecimal() and int(part) for part in parts):
        form = "CxHxW, such as 3x224x224" if counts == (3,) else "N or HxW, such as 224 or 224x320"
        raise ArgumentError(f"{name}: expected {form}; got {text!r}.")
    return int(parts[0]) if len(parts) == 1 else tuple(map(int, parts))


@contextmanager
def _stopped_politely() -> Iterator[None]:
    """Let a request to terminate, as batch systems send it, save what there is, just as Ctrl-C does."""

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
