"""A sweep file: which jobs it stands for, and what is wrong with it, before anything starts."""

import re
from pathlib import Path

import pytest
import yaml

from flexure.errors import ArgumentError, RunError
from flexure.fleet.plan import SweepFile, label, plan, shortened

ROOT = Path(__file__).resolve().parents[2]
BASE = {"model": "lenet5", "data": "digits", "limit": 12}


def jobs(**parts) -> list[dict]:
    return [dict(job.fields) for job in plan({"name": "tiny", **parts}).jobs]


def test_a_base_alone_is_one_job():
    assert jobs(base=BASE) == [BASE]


def test_a_grid_is_every_combination_and_its_last_field_runs_fastest():
    found = jobs(base=BASE, grid={"limit": [10, 20], "seed": [1, 2]})
    assert [(job["limit"], job["seed"]) for job in found] == [(10, 1), (10, 2), (20, 1), (20, 2)]


def test_further_runs_follow_the_grid_and_change_the_base():
    found = jobs(base=BASE, grid={"seed": [1]}, runs=[{"model": "resnet20", "seed": 5}])
    assert found == [{**BASE, "seed": 1}, {**BASE, "model": "resnet20", "seed": 5}]


def test_runs_without_a_grid_are_all_the_jobs_there_are():
    assert jobs(base={"data": "digits"}, runs=[{"model": "lenet5"}]) == [{"model": "lenet5", "data": "digits"}]


def test_a_dot_leads_into_a_mapping_and_leaves_what_stands_beside():
    options = {"probes": {"sensitivity": {"cutoff": 2}}}
    found = jobs(base={**BASE, **options}, grid={"probes.sensitivity.draws": [1, 2]})
    assert [job["probes"]["sensitivity"] for job in found] == [{"cutoff": 2, "draws": 1}, {"cutoff": 2, "draws": 2}]
    assert options == {"probes": {"sensitivity": {"cutoff": 2}}}


def test_two_that_ask_for_the_same_are_one_job():
    found = plan({"base": BASE, "grid": {"seed": [0, 1]}, "runs": [{}, {"seed": 1, "device": "auto"}, {"seed": 2}]})
    assert [job.varied for job in found.jobs] == [{"seed": seed, "device": "auto"} for seed in (0, 1, 2)]


def test_a_job_is_known_by_what_it_asks_for_and_not_by_how_it_is_written():
    (plain,) = plan({"base": BASE}).jobs
    (other,) = plan({"base": dict(reversed(BASE.items())), "grid": {"seed": [0]}}).jobs
    (third,) = plan({"base": BASE, "grid": {"seed": [1]}}).jobs
    assert plain.hash == other.hash != third.hash
    assert plain.hash == "9361c1781c15e9a8", "finished jobs of existing folders would be done again"


@pytest.mark.parametrize("subject", ["model", "net"])
def test_a_job_is_the_same_wherever_its_data_lie_and_however_they_came_there(subject):
    base = {subject: "small_cnn", "data": "digits"}
    (plain,) = plan({"base": base}).jobs
    for change in ({"root": "/elsewhere"}, {"download": True}, {"trust": True}):
        (moved,) = plan({"base": {**base, **change}}).jobs
        assert moved.hash == plain.hash and moved.fields == {**base, **change}


def test_two_jobs_whose_data_lie_in_different_places_are_told_that_they_are_one():
    with pytest.raises(ArgumentError) as wrong:
        plan({"base": BASE, "grid": {"root": ["old", "new"]}})
    assert str(wrong.value) == (
        "sweep: job root=new differs from job root=old in 'root' alone, which says where data lie, not which they are. "
        "Compare data by their names: data: folder:PATH."
    )


def test_the_file_itself_is_read_back_from_what_is_written(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"base": BASE, "grid": {"seed": [0, 1]}}))
    found = plan(path)
    assert found.file.name == "mine"
    again = tmp_path / "again.yaml"
    again.write_text(found.file.to_yaml())
    assert plan(again) == found
    assert SweepFile.read(again) == found.file


FILE = """\
format: 1
name: tiny
base:
  model: lenet5
  data: digits
  probes:
    sensitivity:
      drawz: 2
grid:
  seed: [0, 1]
  limit: [10, 20]
runs:
  - limit: 5
    model: resnet20
  - {model: lenet5}
"""


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        ("", "", "job seed=0 limit=10: line 8: sensitivity: no option 'drawz'. Did you mean 'draws'?"),
        ("drawz: 2", "draws: 0", "draws must be a whole number of at least 1; got 0"),
        ("seed:", "sead:", "job sead=0 limit=10: line 10: no field 'sead'. Did you mean 'seed'? Valid: "),
        ("data: digits", "data: digts", "line 5: no data set 'digts'. Did you mean 'digits'?"),
        ("    model: resnet20", "    model: resnet21", "limit=5 model=resnet21: line 14: no model 'resnet21'. Did you"),
        ("- limit: 5", "- limit: few", "job limit=few model=resnet20: line 13: limit: expected integer; got 'few'"),
        ("data: digits", "root: here", "job seed=0 limit=10: 'data' is missing."),
        ("limit: [10, 20]", "limit: 10", "line 11: grid.limit: expected list; got 10."),
        ("limit: [10, 20]", "limit: []", "line 11: grid.limit: no values; expected at least one."),
        ("grid:", "gird:", "tiny.yaml: line 9: no field 'gird'. Did you mean 'grid'? Valid: base, cpus, format,"),
        ("model: lenet5\n  data", "modle: lenet5\n  data", "names no network; expected 'model' (measure it) or 'net'"),
        ("  data:", "  net: lenet5\n  data:", "both 'model' (a network to measure) and 'net' (a network to train)"),
        ("name: tiny", "name: ../tiny", "line 2: name: expected "),
        ("name: tiny", "work: os:system", "which a file cannot call: use flexure.sweep(…, work=…)."),
        ("  seed:", "  data.x:", "data.x: 'data' is 'digits' in the base; expected names with values."),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_nearest_name(tmp_path, here, there, words):
    text = FILE.replace(here, there) if here else FILE
    if "draw" not in here + words:
        text = text.replace("drawz", "draws")
    path = tmp_path / "tiny.yaml"
    path.write_text(text)
    with pytest.raises(ArgumentError) as wrong:
        plan(path)
    assert str(wrong.value).startswith(str(path))
    assert words in str(wrong.value)


def test_a_model_field_that_is_misspelt_is_told_apart_from_one_that_is_missing():
    with pytest.raises(ArgumentError, match=r"No field 'modle'\. Did you mean 'model'\?"):
        plan({"base": {"modle": "lenet5", "data": "digits"}})


def test_a_file_of_a_newer_version_is_refused():
    with pytest.raises(RunError, match=r"format 2, this version reads up to 1\. Update Flexure"):
        plan({"format": 2, "jobz": []})


def test_fields_of_a_work_of_ones_own_are_its_own_but_have_to_be_plain():
    assert [job.fields for job in plan({"base": {"anything": 1}}, work="m:f").jobs] == [{"anything": 1}]
    assert plan({"base": {"a": 1}}, work="m:f").jobs[0].hash != plan({"base": {"a": 1}}, work="m:g").jobs[0].hash
    with pytest.raises(ArgumentError, match="plain values"):
        plan({"base": {"a": object()}}, work="m:f")


def test_what_varies_is_known_of_every_job_also_where_the_file_leaves_it_open():
    found = plan({"base": {**BASE, "split": "train"}, "grid": {"seed": [1]}, "runs": [{"split": "test"}]})
    assert [job.varied for job in found.jobs] == [{"seed": 1, "split": "train"}, {"seed": 0, "split": "test"}]
    own = plan({"base": {"a": {"b": 1}}, "runs": [{"a.b": 2}, {"c": 3}]}, work="m:f")
    assert [job.varied for job in own.jobs] == [{"a.b": 2, "c": None}, {"a.b": 1, "c": 3}]


def test_a_job_is_named_by_what_varies():
    assert label({"net": "VGG11", "probes.sensitivity.draws": 4, "augment": None}) == "net=VGG11 draws=4 augment=null"


def test_dotted_names_are_shortened_as_far_as_they_can_be_told_apart():
    assert label({"probes.sensitivity.draws": 4, "probes.filters.draws": 2, "loss.hinge.margin": 1.0}) == (
        "sensitivity.draws=4 filters.draws=2 margin=1.0"
    )
    assert shortened(["draws", "probes.a.draws", "a.b.c", "b.c"]) == {
        "draws": "draws",
        "probes.a.draws": "a.draws",
        "a.b.c": "a.b.c",
        "b.c": "b.c",
    }


@pytest.mark.parametrize(("page", "count"), [("README.md", 18), ("docs/howto.md", 19)])
def test_the_files_that_the_documentation_shows_are_right(tmp_path, page, count):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [block for block in re.findall(r"^```.*yaml\n(.*?)^```", text, flags=re.M | re.S) if "\ngrid:" in block]
    (tmp_path / "shown.yaml").write_text(found[0].partition("\n\n")[2] if found[0].startswith(":") else found[0])
    assert len(plan(tmp_path / "shown.yaml").jobs) == count
