"""The commands that measure nothing: ``layers``, ``report``, ``doctor``."""

from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text

import flexure
from flexure.cli import flags
from flexure.cli.root import app, flag
from flexure.cli.show import as_table, numbers, page, stdout

__all__ = ["doctor", "layers", "report"]


@app.command
def layers(
    model: Annotated[str, flags.MODEL],
    /,
    *,
    weights: flags.Weights = None,
    image_size: flags.Size = None,
    shape: Annotated[str | None, flag("Shape of an input, as C×H×W (3x224x224).", "what the network tells")] = None,
    blocks: Annotated[bool, flag("List the modules that hold others, instead of the ops.")] = False,
    num_classes: flags.Classes = None,
    trust: flags.Trust = False,
) -> None:
    """List every op of a network, with what can be measured there, and why the rest cannot."""
    size, form = numbers("--image-size", image_size, 1, 2), numbers("--shape", shape, 3)
    specimen = flexure.resolve(model, weights=weights, image_size=size, num_classes=num_classes, trust=trust)
    found = flexure.layers(specimen, shape=form, blocks=blocks)
    stdout().print(as_table(found.to_frame()), soft_wrap=True)


@app.command
def report(
    folders: Annotated[list[Path], flag("Folders of runs, shown side by side, or of sweeps.")],
    /,
    *,
    to: Annotated[Path | None, flag("Page to write.", "report.html in the folder; compare.html for several")] = None,
    title: Annotated[str | None, flag("Title of the page.")] = None,
) -> None:
    """Draw one self-contained page from one or several folders of runs or sweeps."""
    for folder in folders:
        _put_together(folder)
    where = to or (folders[0] / "report.html" if len(folders) == 1 else Path("compare.html"))
    print(f"page: {page(folders, where, title)}")


def _put_together(folder: Path) -> None:
    """The table of a sweep as it is now, also where no driver has come to its end."""
    if (folder / "jobs.json").is_file():
        from flexure.fleet import Sweep
        from flexure.fleet.summary import summarize

        summarize(Sweep.read(folder))


@app.command
def doctor() -> int:
    """Say which versions and devices there are, what is missing and how to get it; also without torch."""
    from flexure.runs.doctor import examine_installation

    findings = examine_installation()
    table = Table("", "what", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        mark = Text("!!", "bold red") if not finding.fine else Text("--" if finding.advice else "ok", "green")
        table.add_row(mark, Text(finding.what), Text(finding.state), Text(finding.advice))
    stdout().print(table, soft_wrap=True)
    return 0 if all(finding.fine for finding in findings) else 1
