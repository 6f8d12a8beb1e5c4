"""Ray: two nodes on one machine do the same jobs to the same table; what a cluster lacks is said."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from flexure.errors import RunError
from flexure.fleet import Sweep, sweep
from flexure.fleet.on_ray import Cluster
from tests.fleet.driver import start, until

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)

COUNT = "tests.fleet.works:count"


@pytest.fixture(autouse=True)
def no_network() -> None:
    """In place of the guard that all tests have: Ray's nodes know one another by this machine's own address."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of two cores each, on this machine."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"num_cpus": 2, "object_store_memory": 80 * 2**20}
    nodes = Nodes(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    nodes.add_node(**small)
    yield nodes
    nodes.shutdown()


@pytest.fixture
def tiny(tmp_path) -> dict:
    fields = {"book": str(tmp_path / "book"), "steps": 3}
    return {"name": "tiny", "base": fields, "grid": {"value": list(range(6))}}


def statuses(found: Sweep) -> list[str]:
    return [state.status for state in found.states]


def results(found: Sweep) -> list[dict]:
    return [json.loads((found.path(job) / "result.json").read_text()) for job in found.jobs]


def test_two_nodes_do_the_same_jobs_to_the_same_table(tmp_path, tiny, cluster):
    tiny["base"] |= {"pause": 0.3}
    here = sweep(tiny, out=tmp_path / "here", work=COUNT)
    there = sweep(tiny, out=tmp_path / "there", work="tests.fleet.works:count_somewhere", ray=cluster.address)
    assert statuses(there) == statuses(here) == ["done"] * 6
    assert results(there) == results(here)
    parts = ["value", "status", "error"]
    assert there.to_frame()[parts].equals(here.to_frame()[parts])
    assert len({(there.path(job) / "node.txt").read_text() for job in there.jobs}) == 2, "one node did it all"
    assert not ray.is_initialized(), "the driver left the cluster it had joined"


def test_measurements_are_the_same_on_two_nodes(tmp_path, cluster):
    base = {"model": "lenet5", "data": "digits", "limit": 12, "threads": 1}
    spec = {"name": "real", "base": base, "grid": {"seed": [1, 2, 3, 4]}}
    tables = [
        [run["sensitivity"].table for run in sweep(spec, out=tmp_path / name, ray=address).runs()]
        for name, address in (("here", None), ("there", cluster.address))
    ]
    assert len(tables[0]) == len(tables[1]) == 4
    assert all(one.equals(other) for one, other in zip(*tables, strict=True))


def test_a_job_that_fails_and_one_that_dies_leave_the_others_alone(tmp_path, tiny, cluster):
    failed = sweep(tiny, out=tmp_path / "failed", work="tests.fleet.works:refuse", ray=cluster.address)
    assert statuses(failed) == ["done", "done", "failed", "done", "done", "done"]
    assert failed.states[2].error == "no images in this folder"
    died = sweep(tiny, out=tmp_path / "died", work="tests.fleet.works:vanish", ray=cluster.address)
    assert statuses(died) == ["done", "done", "failed", "done", "done", "done"]
    assert died.states[2].error.startswith("its worker died 3 times (")


def test_a_worker_that_is_interrupted_alone_has_its_job_begun_again(tmp_path, tiny, cluster):
    done = sweep(tiny, out=tmp_path, work="tests.fleet.works:be_interrupted", ray=cluster.address)
    assert statuses(done) == ["done", "done", "failed", "done", "done", "done"]
    assert done.states[2].error == "its worker was interrupted, as before: 3 times in all"
    once = sweep(tiny, out=tmp_path / "once", work="tests.fleet.works:be_interrupted_once", ray=cluster.address)
    assert statuses(once) == ["done"] * 6


def test_an_exception_of_a_task_is_a_failure_at_once_with_its_traceback(tmp_path, tiny, cluster, monkeypatch):
    def settle(directory: str, path: list[str]) -> None:
        raise PermissionError(13, "Permission denied", directory)

    monkeypatch.setattr("flexure.fleet.on_ray._attempt", lambda order, directory, path: settle(directory, path))
    done = sweep(tiny, out=tmp_path, work=COUNT, ray=cluster.address)
    assert statuses(done) == ["failed"] * 6
    assert done.states[0].error.startswith("PermissionError: [Errno 13] Permission denied: ")
    failed = json.loads((done.path(done.jobs[0]) / "failed.json").read_text())
    assert 'raise PermissionError(13, "Permission denied", directory)' in failed["traceback"]


def test_a_worker_that_is_killed_is_replaced(tmp_path, tiny, cluster):
    tiny["base"] |= {"pause": 0.02, "steps": 30}
    driver = start(tmp_path, tiny, COUNT, cluster.address)
    until(lambda: list((tmp_path / "out").glob("jobs/*/started.json")))
    (first, *_) = (tmp_path / "out").glob("jobs/*/started.json")
    os.kill(json.loads(first.read_text())["pid"], signal.SIGKILL)
    _, said = driver.communicate(timeout=120)
    assert driver.returncode == 0, said
    assert statuses(Sweep.read(tmp_path / "out")) == ["done"] * 6


def test_an_interrupted_driver_has_its_jobs_interrupted_and_goes_on(tmp_path, tiny, cluster):
    tiny["base"] |= {"pause": 0.02, "steps": 100}
    driver = start(tmp_path, tiny, COUNT, cluster.address)
    until(lambda: (tmp_path / "book").is_file())
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    stopped = Sweep.read(tmp_path / "out")
    assert stopped.counts["stopped half way"] and not stopped.counts["done"] and not stopped.counts["failed"]
    assert statuses(sweep(tiny, out=tmp_path / "out", work=COUNT)) == ["done"] * 6
    lines = (tmp_path / "book").read_text().splitlines()
    assert len(lines) <= 612, "more than a step of each job was made twice"
    assert len(set(lines)) >= 606 - 6, (
        "more is missing than a line between the save and the note of each interrupted job"
    )
    assert {f"{value} finished" for value in range(6)} <= set(lines)


def test_a_cluster_of_this_machine_alone_is_started_and_ended(tmp_path, tiny):
    assert statuses(sweep(tiny, out=tmp_path / "out", work=COUNT, ray="local")) == ["done"] * 6
    assert not ray.is_initialized()


def test_a_cluster_that_is_not_there_is_named(tmp_path, tiny):
    with pytest.raises(RunError, match=r"no Ray cluster at '127\.0\.0\.1:1' .*ray start --head"):
        sweep(tiny, out=tmp_path / "out", work=COUNT, ray="127.0.0.1:1")


def test_a_job_that_no_node_has_room_for_is_refused(tmp_path, tiny, cluster):
    with pytest.raises(RunError, match="no node has room for a job of 16 cpus and 0 gpus; they have 2 cpus and 0 gpus"):
        sweep({**tiny, "cpus": 16}, out=tmp_path / "out", work=COUNT, ray=cluster.address)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("", "0.1.0", ""), r"node 10\.0\.0\.9 \(far\) does not see this folder\. All nodes write to it"),
        (("t", "0.0.1", ""), r"node 10\.0\.0\.9 \(far\) has Flexure 0\.0\.1, here is"),
        (("t", None, "/mine"), r"node 10\.0\.0\.9 \(far\) does not see /mine"),
    ],
)
def test_a_node_that_does_not_fit_is_named(tmp_path, answer, words):
    import flexure

    node = {"NodeManagerAddress": "10.0.0.9", "NodeManagerHostname": "far"}
    found, version, here = answer
    with pytest.raises(RunError, match=words):
        Cluster("local", tmp_path, workers=1, cpus=1, gpus=0)._judge(
            node, (found, version or flexure.__version__, here), "t"
        )


def test_a_node_that_does_not_see_the_folder_ends_the_sweep_before_it_begins(tmp_path, tiny, cluster, monkeypatch):
    monkeypatch.setattr("flexure.fleet.on_ray._TOKEN", "elsewhere/.token")
    monkeypatch.setattr("flexure.fleet.on_ray.write_atomically", lambda path, data: None)
    with pytest.raises(RunError, match="does not see this folder"):
        sweep(tiny, out=tmp_path / "out", work=COUNT, ray=cluster.address)
    assert not (tmp_path / "book").exists()
