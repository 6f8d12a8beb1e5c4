"""The folder of a sweep, as the page sees it: its own results, and the runs that its table lists."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from flexure.errors import RunError
from flexure.results import Result, Run, read

__all__ = ["PAGE", "is_stale", "is_sweep", "members", "read_sweep", "with_links"]

PAGE = "page"
_RESULTS = ("compare", "sweep")  # in the order of the page


def is_sweep(folder: Path) -> bool:
    """Whether this is the folder of a sweep rather than of one run."""
    return (folder / "jobs.json").is_file()


def read_sweep(folder: Path) -> Run:
    """The sweep's own results, as those of a run.

    Raises:
        RunError: No driver has come to the sweep's end yet, or a file cannot be read.
    """
    if not (folder / "sweep.parquet").is_file():
        raise RunError(
            f"{folder}: this sweep has no table yet; a driver writes it at its end. "
            f"Finish it with `flexure sweep {folder}`, or see how far it is with --status."
        )
    found = {name: Result.load(path) for name in _RESULTS if (path := folder / f"{name}.parquet").is_file()}
    name = str((found["sweep"].provenance.get("settings") or {}).get("name") or folder.resolve().name)
    return Run(name, {}, {}, found, folder)


def members(run: Run) -> Iterator[tuple[Path, Run]]:
    """The runs of a sweep that have something to show, with their folders; named after what the sweep varies."""
    for row in run.results["sweep"].table.to_dict("records"):
        folder = (run.folder or Path()) / str(row["folder"])
        member = _readable(folder)
        if member is not None and member.results:
            yield folder, replace(member, name=str(row["label"]))


def _readable(folder: Path) -> Run | None:
    """The run in a folder; None where there is none, or it cannot be read, which the table says of those finished."""
    try:
        return read(folder)
    except RunError:
        return None


def is_stale(page: Path) -> bool:
    """Whether a run's page is missing, or older than its results."""
    written = [path.stat().st_mtime for path in page.parent.glob("*.parquet")]
    return not page.is_file() or page.stat().st_mtime < max(written, default=0.0)


def with_links(run: Run, pages: Mapping[str, str]) -> Run:
    """The sweep with a column that says where the page of each run lies, by the name of its folder."""
    result = run.results["sweep"]
    links = [pages.get(Path(str(folder)).name, "") for folder in result.table["folder"]]
    linked = replace(result, table=result.table.assign(**{PAGE: links}))
    return replace(run, results={**run.results, "sweep": linked})
