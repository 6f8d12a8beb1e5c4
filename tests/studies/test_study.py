"""A whole study on two tiny networks: verdicts, what is done once, what cannot be tried, and the program."""

import dataclasses
import json
import math
import sys
from types import ModuleType

import pytest

from flexure import cli, studies
from flexure.errors import ArgumentError, RunError
from flexure.fleet import read_sweep
from flexure.runs.locking import held
from flexure.studies import Claim, Study
from flexure.studies.measured import at_output, deepest, fall

QUICK = {
    "base": {
        "net": "lenet5",
        "data": "digits",
        "limit": 100,
        "epochs": 1,
        "lr": 0.05,
        "measure_limit": 30,
        "probes": {"sensitivity": {"shuffle": "input", "shuffle_draws": 1}, "accuracy": {}, "filters": {}},
    },
    "grid": {"seed": [0, 1]},
    "runs": [{}],
}
ABSENT = {**QUICK, "base": {**QUICK["base"], "data": "mnist"}}
READY = {**QUICK, "ready": [{"model": "lenet5", "weights": "@mine", "data": "digits", "limit": 30}]}


def judge(runs, settings):
    return studies.Finding.mean([settings["factor"] * run["accuracy"]["error"][0] for run in runs])


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    claims = (
        Claim("errs", "Fig. 1", "They err.", "test error", "above", -1.0, "digits", {"factor": 1}),
        Claim("gains", "Fig. 2", "They do not err.", "- test error", "above", 1.0, "digits", {"factor": -1}),
        Claim("elsewhere", "Fig. 3", "They err on MNIST.", "test error", "above", 0.0, "mnist", {"factor": 1}),
    )
    networks = {"digits": {"quick": READY}, "mnist": {"quick": ABSENT}}
    study = Study("petrini_2021", {"title": "T", "authors": "A"}, networks, claims)
    module = ModuleType("judges")
    module.JUDGES = {claim.name: judge for claim in claims}
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    monkeypatch.setitem(sys.modules, "flexure.studies.petrini_2021.study", module)
    monkeypatch.chdir(tmp_path)
    return study


def test_claims_are_judged_and_what_is_missing_is_said(tiny, tmp_path):
    told = []
    found = studies.study("petrini_2021", root=tmp_path, out="s", say=told.append).to_frame().set_index("claim")
    assert found["verdict"].to_dict() == {"errs": "reproduced", "gains": "differs", "elsewhere": "not tried"}
    assert found.loc["errs", "n"] == 2 and 0 <= found.loc["errs", "value"] <= 1
    assert "mnist" in found.loc["elsewhere", "status"].lower()
    assert any("without mine, whose weights are not given (--weights mine=FILE)" in text for text in told)

    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("s/digits/jobs/*/training.parquet")}
    again = studies.study("petrini_2021", root=tmp_path, out="s", claims=["errs"]).to_frame().set_index("claim")
    assert again["verdict"].to_dict() == found["verdict"].to_dict()  # those not judged again are kept
    assert again.loc["errs", "value"] == found.loc["errs", "value"]  # nothing was trained again
    assert {path: path.stat().st_mtime_ns for path in before} == before and len(before) == 2


def test_what_is_read_off_a_network(tiny, tmp_path):
    studies.study("petrini_2021", root=tmp_path, out="s", claims=["errs"])
    run = read_sweep("s/digits")[0]
    table = run["sensitivity"].to_frame().set_index("layer")
    assert at_output(run, "R_init") == table.loc["output", "R_init"]
    assert deepest(run, "R") == table.loc["conv2", "R"]
    assert fall(run) == pytest.approx(math.log10(table.loc["conv2", "R"] / table.loc["conv1", "R"]))


def test_the_program_prints_the_verdicts_and_a_page(tiny, tmp_path, capsys):
    assert cli.run(["study", "petrini_2021", "--claim", "errs", "--root", str(tmp_path), "--out", "s"]) == 0
    said = capsys.readouterr().out
    assert "errs   Fig. 1" in said and "reproduced" in said and "page: s/report.html" in said
    page = (tmp_path / "s" / "report.html").read_text()
    assert "They err." in page


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["study", "petrini_2012"], "no study 'petrini_2012'. Did you mean 'petrini_2021'"),
        (["study", "petrini_2021", "--claim", "ers"], "no claim 'ers'. Did you mean 'errs'"),
        (["study", "petrini_2021", "--weights", "mine"], "--weights mine: expected NAME=FILE"),
        (["study", "petrini_2021", "--weights", "mina=f.pt"], "no ready-trained network 'mina'. Did you mean 'mine'"),
    ],
)
def test_wrong_names_are_corrected_before_anything_is_done(tiny, command, words, capsys):
    assert cli.run(command) == 2
    assert words in capsys.readouterr().err


def test_a_claim_that_could_not_be_tried_fails_the_command(tiny, tmp_path, capsys):
    assert cli.run(["study", "petrini_2021", "--root", str(tmp_path), "--out", "s"]) == 1
    assert "not tried" in capsys.readouterr().out


def test_networks_that_failed_are_not_trained_again_for_each_claim(tiny, tmp_path, monkeypatch):
    claims = (*tiny.claims, dataclasses.replace(tiny.claims[-1], name="again"))
    study = dataclasses.replace(tiny, claims=claims)
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    monkeypatch.setitem(sys.modules["flexure.studies.petrini_2021.study"].JUDGES, "again", judge)
    told = []
    found = studies.study("petrini_2021", root=tmp_path, out="s", say=told.append).to_frame().set_index("claim")
    assert sum(text.startswith("mnist: 2 networks") for text in told) == 1
    assert found.loc["again", "status"] == found.loc["elsewhere", "status"]


def test_a_network_that_failed_fails_the_claims_about_it_alone(tiny, tmp_path, monkeypatch):
    runs = [{}, {"net": "small_cnn", "lr": 1e30}]
    about = dataclasses.replace(tiny.claims[0], name="about", settings={"factor": 1, "nets": ["lenet5"]})
    networks = {"digits": {"quick": {**QUICK, "runs": runs}}}
    study = dataclasses.replace(tiny, claims=(tiny.claims[0], about), networks=networks)
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    monkeypatch.setitem(sys.modules["flexure.studies.petrini_2021.study"].JUDGES, "about", judge)
    found = studies.study("petrini_2021", root=tmp_path, out="s").to_frame().set_index("claim")
    assert found["verdict"].to_dict() == {"errs": "not tried", "about": "reproduced"}
    assert found.loc["errs", "status"].startswith("digits: 2 of 4 networks failed; the first: small_cnn: the loss is")
    assert found.loc["about", "n"] == 2


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ("study: tomasini_2022\nmode: quick\n", "holds tomasini_2022, quick mode, not petrini_2021, quick mode."),
        ("study: petrini_2021\nmode: full\n", "holds petrini_2021, full mode, not petrini_2021, quick mode."),
        ("model: lenet5\ndata: digits\n", "holds a single run, not petrini_2021, quick mode. Choose another folder."),
        (None, "holds a sweep, not petrini_2021, quick mode. Choose another folder."),
    ],
)
def test_a_folder_with_something_else_is_left_alone(tiny, tmp_path, there, words):
    (tmp_path / "s").mkdir()
    path = tmp_path / "s" / ("jobs.json" if there is None else "spec.yaml")
    path.write_text(there or "{}")
    with pytest.raises(RunError) as wrong:
        studies.study("petrini_2021", root=tmp_path, out="s")
    assert words in str(wrong.value) and path.read_text() == (there or "{}")


def test_a_set_may_go_on_from_the_weights_of_another_and_be_meant_as_another(tiny, tmp_path, monkeypatch):
    tuned = {**QUICK, "base": {**QUICK["base"], "probes": {"accuracy": {}}}, "start": "digits"}
    networks = {**tiny.networks, "tuned": {"quick": tuned}, "alias": {"quick": {"same": "digits"}}}
    claims = tuple(
        Claim(name, "Fig. 4", "They err.", "test error", "above", -1.0, name, {"factor": 1})
        for name in ("tuned", "alias")
    )
    study = dataclasses.replace(tiny, networks=networks, claims=claims)
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    sys.modules["flexure.studies.petrini_2021.study"].JUDGES.update({claim.name: judge for claim in claims})
    found = studies.study("petrini_2021", root=tmp_path, out="s").to_frame().set_index("claim")
    assert set(found["verdict"]) == {"reproduced"} and list(found["n"]) == [2, 2]
    before = {run.spec["seed"]: run for run in read_sweep("s/digits")}
    for run in read_sweep("s/tuned"):
        last = before[run.spec["seed"]].folder / "last.safetensors"
        assert (run.folder / "initial.safetensors").read_bytes() == last.read_bytes()
    assert found.loc["alias", "value"] == sum(run["accuracy"]["error"][0] for run in before.values()) / 2


def test_a_claim_of_one_mode_is_not_judged_in_the_other(tiny, tmp_path, monkeypatch):
    only = Claim("long", "Fig. 5", "They err.", "test error", "above", 0.0, "long", {"factor": 1})
    study = dataclasses.replace(
        tiny, networks={**tiny.networks, "long": {"full": QUICK}}, claims=(tiny.claims[0], only)
    )
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    sys.modules["flexure.studies.petrini_2021.study"].JUDGES["long"] = judge
    found = studies.study("petrini_2021", root=tmp_path, out="s").to_frame()
    assert list(found["claim"]) == ["errs"]
    with pytest.raises(ArgumentError, match=r"claim 'long' is judged in the full mode alone. Here: errs"):
        studies.study("petrini_2021", root=tmp_path, out="s", claims=["long"])


def test_two_processes_do_not_judge_into_one_folder(tiny, tmp_path):
    with held(tmp_path / "s", busy=str), pytest.raises(RunError, match="another process works on this study"):
        studies.study("petrini_2021", root=tmp_path, out="s")


def test_the_command_that_repeats_a_study_lies_beside_it(tiny, tmp_path):
    studies.study("petrini_2021", root=tmp_path, out="s", claims=["errs"])
    command = json.loads((tmp_path / "s" / "env.json").read_text())["command"]
    assert command == f"flexure study petrini_2021 --claim errs --root {tmp_path} --out s"
    studies.study("petrini_2021", root=tmp_path, out="s", claims=["gains", "elsewhere"])  # errs is there already
    command = json.loads((tmp_path / "s" / "env.json").read_text())["command"]
    assert command == f"flexure study petrini_2021 --root {tmp_path} --out s"


def test_a_study_lists_its_claims(capsys):
    assert cli.run(["study"]) == 0
    said = capsys.readouterr().out
    assert "tomasini_2022: 23 claims" in said and "fig3_shuffled: After shuffling" in said


def test_no_workers_leave_the_verdicts_alone(tiny, tmp_path):
    with pytest.raises(ArgumentError, match="workers must be at least 1; got 0"):
        studies.study("petrini_2021", root=tmp_path, out="s", workers=0)
    assert not (tmp_path / "s").exists()


def test_an_unknown_study_is_refused():
    with pytest.raises(ArgumentError, match="no study 'x'"):
        studies.study("x")


def test_claims_do_not_change_once_read():
    claim = Study.read("tomasini_2022").claims[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        claim.value = 1.0
