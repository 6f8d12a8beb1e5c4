"""``flexure study``: redo a paper's figures and print a verdict per claim."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.table import Table
from rich.text import Text

from flexure.cli.root import Names, app, flag
from flexure.cli.show import page, say, stdout
from flexure.errors import ArgumentError

if TYPE_CHECKING:
    from flexure.results import Result

__all__ = ["study"]

_COLORS = {"reproduced": "green", "differs": "red", "undecided": "yellow", "not tried": "dim"}


@app.command
def study(
    name: Annotated[str | None, flag("he_su_2020, petrini_2021, shen_2020 or tomasini_2022.", "list them")] = None,
    /,
    *,
    full: Annotated[bool, flag("The paper's sizes: hours to days, most on a GPU.")] = False,
    claim: Annotated[Names, flag("Claims to judge.", "all", consume_multiple=True)] = None,
    root: Annotated[Path, flag("Folder in which data sets lie.", "~/data")] = Path("~/data"),
    weights: Annotated[Names, flag("Ready-trained networks, as NAME=FILE (resnet20=…).", consume_multiple=True)] = None,
    out: Annotated[Path | None, flag("Folder of the study.", "studies/NAME-quick or -full")] = None,
    workers: Annotated[int, flag("Networks trained at a time.", "2")] = 2,
) -> int:
    """Redo a paper's figures: train and measure its networks, and judge each claim by a number fixed beforehand."""
    from flexure import studies

    if name is None:
        _list(studies.STUDIES)
        return 0
    folder = out or Path("studies") / f"{name}-{'full' if full else 'quick'}"
    files = dict(_pair(text) for text in weights or ())
    found = studies.study(
        name, full=full, claims=claim or (), root=root, weights=files, out=folder, workers=workers, say=say
    )
    stdout().print(_verdicts(found))
    print(f"study folder: {folder}")
    print(f"page: {page([folder], folder / 'report.html')}")
    return int("not tried" in set(found["verdict"]))


def _list(names: tuple[str, ...]) -> None:
    from flexure.studies import Study

    for name in names:
        read = Study.read(name)
        print(f"{name}: {len(read.claims)} claims of {read.about['authors']}, {read.about['title']}")
        for claim in read.claims:
            print(f"  {claim.name}: {claim.says}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise ArgumentError(f"--weights {text}: expected NAME=FILE, such as resnet20=resnet20.safetensors.")
    return name, file


def _verdicts(found: "Result") -> Table:
    table = Table("claim", "figure", "expected", "value", "95 % interval", "n", "verdict", box=None, pad_edge=False)
    for row in found.to_frame().to_dict("records"):
        value = f"{row['value']:.3g}" if row["n"] else ""
        interval = f"{row['low']:.3g} … {row['high']:.3g}" if row["n"] else ""
        ended = Text(str(row["verdict"]), _COLORS[str(row["verdict"])])
        table.add_row(row["claim"], row["figure"], row["expected"], value, interval, str(row["n"]), ended)
    return table
