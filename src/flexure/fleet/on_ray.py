"""Workers on many machines: the same jobs as tasks of a Ray cluster, whose nodes share the sweep's folder."""

import os
import re
import socket
import sys
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import flexure
from flexure import ecosystem
from flexure.errors import RunError
from flexure.fleet.jobs import ATTEMPTS, Order, Outcome, Setbacks, attempt, fail, sentence
from flexure.results import write_atomically

__all__ = ["LOCAL", "Cluster"]

LOCAL = "local"
_TOKEN = ".token"
_COLOR = re.compile(r"\x1b\[[\d;]*m")
_PATIENCE = 10.0  # seconds in which a cluster has to answer
_PAUSE = 0.5  # seconds between two looks, so that an interrupt is noticed
_GRACE = 15.0  # seconds in which jobs that are interrupted have to have saved their partial sums


class Cluster:
    """Does orders as tasks of a Ray cluster; a context. A cluster that is running already is left running.

    Args:
        address: ``"local"`` for a cluster of this machine alone, else the address of one (``auto``, ``HOST:PORT``).
        folder: The sweep's folder, which every node has to see under the same path.
        workers: Jobs at a time, for a local cluster.
        cpus: Cores of one job.
        gpus: GPUs of one job; a fraction shares one.

    Raises:
        MissingPackageError: Ray is not installed.
        RunError: There is no cluster at the address, a node does not see the folder, or has another Flexure.
    """

    def __init__(self, address: str, folder: Path, *, workers: int, cpus: int, gpus: float) -> None:
        self._ray: Any = ecosystem.ray()
        self._address, self._folder = address, folder.resolve()
        self._workers, self._cpus, self._gpus = workers, cpus, gpus
        self._own = False
        self._tasks: dict[Any, Order] = {}

    def __enter__(self) -> Self:
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect()
        try:
            self._check_nodes()
            self._check_room()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask the jobs at work to save what they have, give them a while, and leave the cluster."""
        try:
            for task in self._tasks:
                self._ray.cancel(task)
            if self._tasks:
                self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_GRACE)
        finally:
            self._leave()

    def outcomes(self, orders: Iterable[Order]) -> Iterator[Outcome]:
        """Hand the orders to Ray, which chooses where; each outcome is handed out as it comes."""
        task = self._ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=ATTEMPTS - 1)(_attempt)
        left, setbacks = deque(orders), Setbacks()
        while left or self._tasks:
            while left:
                order = left.popleft()
                self._tasks[task.remote(order, *_here())] = order
            ended, _ = self._ray.wait(list(self._tasks), timeout=_PAUSE)
            for reference in ended:
                order = self._tasks.pop(reference)
                outcome = self._outcome(reference, order, setbacks)
                if outcome is None:
                    left.append(order)
                else:
                    yield outcome

    def _outcome(self, reference: Any, order: Order, setbacks: Setbacks) -> Outcome | None:
        """How a task ended; None where its job is to be begun again."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(reference)
        except errors.RayTaskError as wrong:  # raised around the job; what a job raises is an outcome already
            return fail(order, sentence(wrong.cause), _COLOR.sub("", str(wrong)))
        except errors.RayError as wrong:
            words = str(wrong).strip().splitlines() or [type(wrong).__name__]
            return fail(order, f"its worker died {ATTEMPTS} times ({words[0]})", str(wrong))
        interrupted = outcome.status == "stopped"  # by somebody who meant this worker, and not the sweep
        return setbacks.again(order, "its worker was interrupted") if interrupted else outcome

    def _connect(self) -> None:
        """Ray's own words go to its own logs, and nothing about its use goes anywhere."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {"num_cpus": self._workers * self._cpus, "include_dashboard": False} if self._address == LOCAL else {}
        try:
            _knock(self._address)
            self._ray.init(address=self._address, log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, RuntimeError, ValueError, OSError) as wrong:
            words = " ".join(str(wrong).split())
            raise RunError(
                f"no Ray cluster at {self._address!r} ({words}). Start one with `ray start --head`, or say --ray local."
            ) from wrong

    def _leave(self) -> None:
        if self._own:
            self._ray.shutdown()

    def _check_nodes(self) -> None:
        """Every node has to see the folder, and to have this Flexure: else results would be lost or mixed."""
        token = uuid.uuid4().hex
        write_atomically(self._folder / _TOKEN, token.encode())
        try:
            for node in (node for node in self._ray.nodes() if node["Alive"]):
                strategy = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                    node["NodeID"], soft=False
                )
                look = self._ray.remote(num_cpus=0, scheduling_strategy=strategy)(_look)
                answer = self._ray.get(look.remote(str(self._folder / _TOKEN), *_here()))
                self._judge(node, answer, token)
        finally:
            (self._folder / _TOKEN).unlink(missing_ok=True)

    def _judge(self, node: dict[str, Any], answer: tuple[str, str, str], token: str) -> None:
        found, version, here = answer
        name = f"node {node['NodeManagerAddress']} ({node['NodeManagerHostname']})"
        if found != token:
            raise RunError(
                f"{self._folder}: {name} does not see this folder. All nodes write to it: choose one on a file system "
                "that they share."
            )
        if version != flexure.__version__:
            raise RunError(f"{name} has Flexure {version}, here is {flexure.__version__}. Install the same everywhere.")
        if here:
            raise RunError(
                f"{name} does not see {here}, the directory that this was started in and that paths start at."
            )

    def _check_room(self) -> None:
        """A job that no node has room for would wait forever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(room.get("CPU", 0) >= self._cpus and room.get("GPU", 0) >= self._gpus for room in nodes):
            most = ", ".join(f"{room.get('CPU', 0):g} cpus and {room.get('GPU', 0):g} gpus" for room in nodes)
            raise RunError(
                f"no node has room for a job of {self._cpus} cpus and {self._gpus:g} gpus; they have {most}."
            )


def _knock(address: str) -> None:
    """Where nobody answers at HOST:PORT, say so at once: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _here() -> tuple[str, list[str]]:
    return str(Path.cwd()), [path for path in sys.path if path]


def _attempt(order: Order, directory: str, path: list[str]) -> Outcome:
    """Do a job in a worker of Ray's, where paths and imports mean what they mean to the driver."""
    _settle(directory, path)
    return attempt(order)


def _look(token: str, directory: str, path: list[str]) -> tuple[str, str, str]:
    """What a node sees: the token, its version of Flexure, the directory if it is not there."""
    file = Path(token)
    found = file.read_text() if file.is_file() else ""
    return found, flexure.__version__, "" if Path(directory).is_dir() else directory


def _settle(directory: str, path: list[str]) -> None:
    os.chdir(directory)
    sys.path += [part for part in path if part not in sys.path]
