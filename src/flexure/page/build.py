"""From runs to one file: gather, arrange, write."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flexure.errors import ArgumentError, RunError
from flexure.page.embed import bundle, json_for_html, policy, pooled
from flexure.page.panels import Panel, panels
from flexure.page.sweep_folder import is_stale, is_sweep, members, read_sweep, with_links
from flexure.results import Run, read, write_atomically

__all__ = ["report"]


def report(*runs: Run | str | os.PathLike, to: str | os.PathLike | None = None, title: str | None = None) -> Path:
    """What was found, as one page that opens anywhere.

    One panel per probe: the question, the picture, the table, how to read it, what it does not show, and the command
    that made it. Several runs are laid over one another in the pictures and stand side by side in the tables. The
    file holds everything it needs and loads nothing; whatever text the runs contain appears as text.

    Args:
        runs: Runs, or folders of runs or of sweeps. A sweep is shown by its table and the comparison of its networks;
            each of its runs gets a page of its own, ``report.html`` in its folder, and the table leads there.
        to: File to write, or a folder for ``report.html``. By default ``report.html`` in the folder of a single run,
            ``compare.html`` in the current directory for several.
        title: Heading; by default the names of the runs.

    Returns:
        The path of the file.

    Raises:
        ArgumentError: No runs.
        RunError: A folder holds no run, a run has finished no probe, or the file cannot be written.

    Cost: about two seconds, most of it once per process for the library that draws the charts; a sweep costs a
        fraction of a second and a megabyte more per run whose page is not there or older than its results.
    """
    if not runs:
        raise ArgumentError("report: no runs; expected one or several, as folders or as `flexure.read` returns them.")
    several = [_with_results(run if isinstance(run, Run) else _read(Path(run))) for run in runs]
    target = _target(several, to)
    page = render([_with_pages(run, target.parent) for run in several], title=title)
    return write_atomically(target, page.encode())


def _read(folder: Path) -> Run:
    return read_sweep(folder) if is_sweep(folder) else read(folder)


def _with_pages(run: Run, directory: Path) -> Run:
    """A sweep that knows where the pages of its runs lie, seen from ``directory``; those that are missing are drawn."""
    if run.folder is None or "sweep" not in run.results:
        return run
    pages = {}
    for folder, member in members(run):
        page = folder / "report.html"
        if is_stale(page):
            report(member, to=page)
        pages[folder.name] = os.path.relpath(page, directory)
    return with_links(run, pages)


def render(runs: Sequence[Run], *, title: str | None = None) -> str:
    """The page for these runs, as text."""
    shown = panels(runs)
    environment = _environment()
    charts = [picture for panel in shown for picture in panel.pictures]
    data = {"data": pooled(charts), "charts": [picture.spec for picture in charts]}
    scripts = [Markup(bundle()), Markup(_source(environment, "page.js"))] if charts else []
    return environment.get_template("page.html").render(
        title=title or ", ".join(shown[0].labels if len(shown) == 1 else [run.name or "run" for run in runs]),
        panels=shown,
        numbered=_numbered(shown),
        style=Markup(_source(environment, "page.css")),
        scripts=scripts,
        policy=policy(scripts),
        data=Markup(json_for_html(data)),
        version=_recorded(runs, lambda about: (about.get("versions") or {}).get("flexure")),
        measured_on=_recorded(runs, lambda about: str(about.get("started") or "")[:10]),
    )


def _numbered(shown: Sequence[Panel]) -> dict[str, int]:
    """Number of the first chart of each panel."""
    starts, count = {}, 0
    for panel in shown:
        starts[panel.probe] = count
        count += len(panel.pictures)
    return starts


def _environment() -> Environment:
    loader = PackageLoader("flexure.page", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _source(environment: Environment, name: str) -> str:
    """A file of the templates as it stands."""
    loader: Any = environment.loader
    return loader.get_source(environment, name)[0]


def _with_results(run: Run) -> Run:
    if not run.results:
        where = run.folder or f"run {run.name!r}"
        raise RunError(
            f"{where}: no finished probe, so there is nothing to report. "
            "Finish it with `flexure examine --resume`, or name another run."
        )
    return run


def _target(runs: Sequence[Run], to: str | os.PathLike | None) -> Path:
    if to is None:
        return Path("compare.html") if len(runs) > 1 else Path(runs[0].folder or ".") / "report.html"
    path = Path(to)
    return path / "report.html" if path.is_dir() else path


def _recorded(runs: Sequence[Run], pick: Callable[[Mapping[str, Any]], Any]) -> str:
    """Something that every result may have recorded: each value once, in order."""
    found = {pick(result.provenance) for run in runs for result in run.results.values()}
    return ", ".join(sorted(str(value) for value in found if value))
