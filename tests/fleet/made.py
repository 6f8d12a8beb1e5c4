"""The folder of a sweep as it would lie there, its runs made from a formula."""

import json
from pathlib import Path

import pandas as pd
from charts.make import result, table

from flexure.fleet import Sweep
from flexure.fleet.plan import Plan, plan
from flexure.results import Result

FIELDS = {"net": ["vgg11", "resnet18", "densenetl2", "lenet"]}


def swept(folder: Path, *, grid: dict | None = None, failed: int = 0, measured: bool = True) -> Sweep:
    """One run per value of the grid; the first few failed."""
    base = {"data": "digits"}
    planned = plan({"name": "made", "base": base, "grid": FIELDS if grid is None else grid}, work="made:up")
    jobs = [{"hash": job.hash, "fields": job.fields, "varied": job.varied} for job in planned.jobs]
    (folder / "jobs.json").write_text(json.dumps({"name": "made", "work": "made:up", "format": 1, "jobs": jobs}))
    _ended(folder, planned, failed, measured)
    return Sweep.read(folder)


def _ended(folder: Path, planned: Plan, failed: int, measured: bool) -> None:
    for number, job in enumerate(planned.jobs):
        where = folder / "jobs" / job.hash
        where.mkdir(parents=True)
        about = {"format": 1, "hash": job.hash, "driver": "me", "seconds": 61.0 + number, "finished": 1.0}
        if number < failed:
            (where / "failed.json").write_text(json.dumps({**about, "error": "it <b>broke</b>"}))
            continue
        (where / "done.json").write_text(json.dumps(about))
        if measured:
            spec = {"net": f"net{number}", "seed": 0, **dict(job.fields)}
            (where / "spec.yaml").write_text(json.dumps(spec))
            result(table(end=0.05 * 1.7**number, seed=number)).save(where)
            accuracy(0.02 * 1.5**number + 0.004 * (number % 3)).save(where)


def accuracy(error: float) -> Result:
    """As the probe of that name gives it."""
    row = {"layer": "output", "corruption": 0.0, "accuracy": 1 - error, "accuracy_se": 0.01}
    row |= {"error": error, "error_se": 0.01, "loss": 0.1, "loss_se": 0.01, "n": 500, "draws": 1, "status": "measured"}
    return Result("accuracy", "How often is it right?", pd.DataFrame([row]))
