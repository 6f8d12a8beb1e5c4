"""What a sweep found: a row per run, and the comparison where there are enough of them."""

import math

import pandas as pd
import pytest

import flexure
from flexure.errors import ArgumentError
from flexure.fleet import Sweep, sweep
from flexure.fleet.summary import summarize, summary
from flexure.results import Result
from tests.fleet.made import FIELDS, swept


def test_every_run_has_a_row_with_what_varies_and_what_was_found(tmp_path):
    found = summary(swept(tmp_path, failed=1))
    assert found.probe == "sweep" and list(found["net"]) == FIELDS["net"]
    assert list(found["status"]) == ["failed", "done", "done", "done"]
    assert list(found["reason"]) == ["it <b>broke</b>", "", "", ""]
    first, second = found.table.iloc[0], found.table.iloc[1]
    assert math.isnan(first["error"]) and math.isnan(first["R"]) and first["n"] == 0
    assert (second["error"], second["error_se"], second["n"]) == (0.034, 0.01, 500)
    assert abs(second["R"] - 0.085) < 1e-12 and second["R_se"] > 0
    assert (tmp_path / second["folder"] / "sensitivity.parquet").is_file()
    assert found.notes == ("Of 4 jobs 1 is not done; the table says why.",)


def test_what_nobody_measured_has_no_column(tmp_path):
    found = summary(swept(tmp_path, measured=False))
    assert list(found.table.columns) == ["net", "label", "status", "seconds", "reason", "folder", "n"]


def test_numbers_are_those_of_finished_jobs_alone(tmp_path):
    there = swept(tmp_path)
    first, second, *_ = (there.path(job) for job in there.jobs)
    (first / "done.json").rename(first / "failed.json")
    (second / "done.json").rename(second / "started.json")
    found = summary(Sweep.read(tmp_path))
    assert list(found["status"]) == ["failed", "stopped half way", "done", "done"]
    assert list(found["n"]) == [0, 0, 500, 500]
    assert [math.isfinite(error) for error in found["error"]] == [False, False, True, True]
    assert [math.isfinite(value) for value in found["R"]] == [False, False, True, True]


@pytest.mark.parametrize("file", ["sensitivity.parquet", "spec.yaml", "env.json"])
def test_a_run_that_cannot_be_read_says_so_and_the_others_stay(tmp_path, file):
    there = swept(tmp_path)
    damaged = there.path(there.jobs[1])
    (damaged / file).write_text("{")
    found, compared = summarize(there)
    assert list(found["status"]) == ["done", "cannot be read", "done", "done"]
    assert found["reason"][1].startswith(str(damaged)) and list(found["n"]) == [500, 0, 500, 500]
    assert found.notes == ("Of 4 runs 1 cannot be read; the table says why.",)
    assert len(compared["point_R"]) == 3
    page = flexure.report(tmp_path).read_text()
    assert page.count('<a href="jobs/') == 3 and "cannot be read: " in page


@pytest.mark.parametrize(
    ("file", "status"), [("done.json", "failed"), ("started.json", "done"), ("failed.json", "done")]
)
def test_a_record_that_cannot_be_read_says_so_and_the_others_stay(tmp_path, file, status):
    there = swept(tmp_path)
    (there.path(there.jobs[1]) / file).write_text("")
    found = summary(Sweep.read(tmp_path))
    assert list(found["status"]) == ["done", status, "done", "done"]
    assert ("done.json: cannot be read (" in found["reason"][1]) is (status == "failed")


def test_the_table_is_written_also_where_the_comparison_is_not(tmp_path, monkeypatch):
    def refuse(runs):
        raise ArgumentError("nothing to compare")

    monkeypatch.setattr("flexure.analysis.compare.compare", refuse)
    with pytest.raises(ArgumentError):
        summarize(swept(tmp_path))
    assert (tmp_path / "sweep.parquet").is_file()


def test_three_networks_are_compared_and_two_are_not(tmp_path):
    found = swept(tmp_path)
    assert [result.probe for result in summarize(found)] == ["sweep", "compare"]
    assert len(Result.load(tmp_path / "compare.parquet").table) == 3
    for job in found.jobs[:2]:
        (found.path(job) / "accuracy.parquet").unlink()
    assert [result.probe for result in summarize(found)] == ["sweep"]
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["sweep.parquet"], "an old comparison was left"
    assert not (tmp_path / "compare.safetensors").exists()


def test_fields_of_every_kind_can_be_written_and_none_hides_a_column(tmp_path):
    grid = {"status": [1, 2], "augment": [None, "flip"], "image_size": [[8, 12], 8]}
    table = summary(swept(tmp_path, grid=grid, measured=False)).table
    assert list(table["status (field)"]) == [1, 1, 1, 1, 2, 2, 2, 2] and set(table["status"]) == {"done"}
    assert table["augment"].isna().sum() == 4
    assert set(table["image_size"]) == {"[8, 12]", "8"}
    Result("sweep", "", table).save(tmp_path)
    pd.testing.assert_frame_equal(Result.load(tmp_path / "sweep.parquet").table, table)


def test_runs_of_an_earlier_file_are_counted(tmp_path):
    found = swept(tmp_path, measured=False)
    (tmp_path / "jobs" / "0000000000000000").mkdir()
    assert summary(found).notes == (
        "1 further runs in jobs/ belong to earlier versions of the sweep file; they are kept.",
    )


def test_a_sweep_writes_its_table_at_the_end(tmp_path):
    fields = {"book": str(tmp_path / "book"), "steps": 1}
    sweep({"name": "tiny", "base": fields, "grid": {"value": [2, 1]}}, out=tmp_path, work="tests.fleet.works:refuse")
    table = Result.load(tmp_path / "sweep.parquet").table
    assert list(table["value"]) == [2, 1] and list(table["status"]) == ["failed", "done"]
