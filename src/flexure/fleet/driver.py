"""Many runs: hand out the jobs of a sweep that are not done, and put together what they found."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from flexure.errors import ArgumentError
from flexure.fleet import jobs
from flexure.fleet.folder import Sweep, hold
from flexure.fleet.jobs import Order, Outcome
from flexure.fleet.plan import Job, Plan, plan
from flexure.fleet.pool import Pool
from flexure.fleet.summary import summarize
from flexure.results import Progress

__all__ = ["default_folder", "sweep"]


class _Crew(Protocol):
    """Whoever does orders, in any order."""

    def outcomes(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """Do the orders; each outcome is handed out as it comes."""


def sweep(
    spec: Mapping[str, Any] | str | os.PathLike,
    *,
    out: str | os.PathLike | None = None,
    workers: int = 2,
    ray: str | None = None,
    retry: bool = False,
    work: jobs.Work | str | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Which networks, settings and seeds lead to what? Train or measure all of them, as far as that is not done yet.

    The jobs are those of :class:`flexure.fleet.plan.SweepFile`: a ``base`` of fields, a ``grid`` of values by field,
    further ``runs``. A job with the field ``net`` is a training, one with ``model`` a measurement. All are checked
    before the first begins. A job is known by a hash of what it asks for: called again, those that are done are left
    alone, those that were stopped go on from what they had saved, to the identical result, and new ones are added. One
    that fails does not keep the others from running.

    Args:
        spec: A YAML file, or the same as a mapping.
        out: Folder of the sweep; None: ``runs/NAME``.
        workers: Processes on this machine; with ``ray="local"``, jobs at a time. They share the cores.
        ray: ``"local"``, or the address of a Ray cluster, whose nodes must all see ``out`` under the same path.
        retry: Do those again that have failed before; otherwise they are left alone.
        work: A function of a module, or ``"module:function"``, that gets a job's fields and its folder, in place of a
            training or a measurement. A job that is done again after a kill finds what it had left in its folder.
        progress: Told how many jobs have ended.

    Returns:
        The sweep as it lies in its folder; ``to_frame()`` is a table of the jobs, ``runs()`` gives what they found.
        Jobs that failed are rows that say so; their traceback is in ``failed.json`` in their folder. ``sweep.parquet``
        there is the table with test error, D, G and R; from three measured networks on, ``compare.parquet`` is what
        :func:`flexure.compare` says of them; :func:`flexure.report` shows both.

    Raises:
        ArgumentError: A field, name or value is wrong, with its line in the file. Nothing has been started.
        RunError: Another driver works on the folder, it holds another sweep, it cannot be written, or workers or the
            cluster cannot be used. What is finished is kept.

    Cost: the jobs, some 20 ms more for each, and a few seconds in which the workers import torch.
    """
    if workers < 1:
        raise ArgumentError(f"workers: expected at least 1; got {workers}.")
    planned = plan(spec, work=None if work is None else jobs.named(work))
    folder = default_folder(planned.file.name) if out is None else Path(out)
    with hold(folder, planned, workers=workers, where=ray or "this machine") as driver:
        orders = _orders(planned, Sweep.read(folder), driver, retry=retry)
        with _crew(planned, folder, workers, ray, len(orders)) as crew:
            outcomes = []
            for outcome in crew.outcomes(orders):
                outcomes.append(outcome)
                if progress is not None:
                    progress(len(outcomes), len(orders))
        errors = {outcome.hash: outcome.error for outcome in outcomes if outcome.status == "failed"}
        done = Sweep.read(folder).told(errors)
        summarize(done)
    return done


def default_folder(name: str) -> Path:
    """Where a sweep goes that was given no folder."""
    return Path("runs") / name


def _orders(planned: Plan, there: Sweep, driver: str, *, retry: bool) -> list[Order]:
    ended = {"done"} if retry else {"done", "failed"}
    left = [job for job, state in zip(there.jobs, there.states, strict=True) if state.status not in ended]
    return [_order(planned, there, job, driver) for job in left]


def _order(planned: Plan, there: Sweep, job: Job, driver: str) -> Order:
    return Order(job.hash, dict(job.fields), str(there.path(job).resolve()), planned.file.work, driver)


def _crew(planned: Plan, folder: Path, workers: int, ray: str | None, orders: int) -> AbstractContextManager[_Crew]:
    if ray is None or not orders:
        return Pool(workers, folder / "logs", cpus=planned.file.cpus)
    from flexure.fleet.on_ray import Cluster

    return Cluster(ray, folder, workers=workers, cpus=planned.file.cpus or 1, gpus=planned.file.gpus or 0)
