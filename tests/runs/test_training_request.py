"""From the command line to a training: flags, files and settings, checked before anything is read."""

import pytest

from flexure.errors import ArgumentError, RunError
from flexure.runs.training_request import training_request

GIVEN = {"net": "lenet5", "data": "digits"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_network_and_data_are_enough():
    asked = training_request(GIVEN)
    assert (asked.spec.net, asked.spec.epochs, asked.out.as_posix()) == ("lenet5", 20, "runs/lenet5-digits-trained")


def test_a_folder_that_is_taken_is_not_written_to(here):
    (here / "runs" / "lenet5-digits-trained").mkdir(parents=True)
    assert training_request(GIVEN).out.name == "lenet5-digits-trained-2"
    assert training_request(GIVEN, resume=True).out.name == "lenet5-digits-trained"


def test_settings_reach_fields_parts_of_fields_and_options_of_probes():
    settings = [
        "momentum=0.8",
        "stop.train_loss=0.1",
        "stop.patience_factor=2",
        "schedule.epoch_cosine.share=1",
        "monitors.sensitivity.every=10",
        "sensitivity.draws=3",
    ]
    spec = training_request({**GIVEN, "epochs": 3}, settings=settings).spec
    assert spec.momentum == 0.8
    assert spec.stop == {"train_loss": 0.1, "patience_factor": 2}
    assert spec.schedule == {"epoch_cosine": {"share": 1}}
    assert spec.monitors == {"sensitivity": {"every": 10}}
    assert spec.probes["sensitivity"] == {"draws": 3}


def test_a_part_of_a_field_that_is_a_name_becomes_its_option():
    given = {**GIVEN, "schedule": "epoch_exponential"}
    spec = training_request(given, settings=["schedule.epoch_exponential.gamma=0.9"]).spec
    assert spec.schedule == {"epoch_exponential": {"gamma": 0.9}}


def test_flags_win_over_the_file_and_settings_over_both(here):
    (here / "t.yaml").write_text("net: lenet5\ndata: digits\nepochs: 5\nlr: 0.3\nweights_hash: abc\n")
    spec = training_request({"epochs": 7}, settings=["lr=0.2"], config="t.yaml").spec
    assert (spec.epochs, spec.lr, spec.weights_hash) == (7, 0.2, None)
    assert training_request({}, config="t.yaml").spec.weights_hash == "abc"


def test_the_folder_describes_what_is_gone_on_with(here):
    (here / "spec.yaml").write_text("net: lenet5\ndata: digits\nepochs: 5\n")
    asked = training_request({}, out=here, resume=True)
    assert (asked.spec.epochs, asked.resume, asked.out) == (5, True, here)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ({}, {}, "NET is missing: which network?"),
        ({"net": "lenet5"}, {}, "DATA is missing: which images?"),
        (GIVEN, {"settings": ["momentun=0.8"]}, "no field 'momentun'. Did you mean 'momentum'"),
        (GIVEN, {"settings": ["lr=1", "lr=2"]}, "lr is set twice"),
        (GIVEN, {"settings": ["lr.x=1"], "config": None}, "lr: expected number"),
        (GIVEN, {"settings": ["sensitivty.draws=1"]}, "no probe 'sensitivty'. Did you mean 'sensitivity'"),
        (GIVEN, {"probes": ["senstivity"]}, "no probe 'senstivity'"),
        ({}, {"resume": True}, "--resume: which training?"),
    ],
)
def test_what_makes_no_sense_is_told(given, options, words):
    with pytest.raises(ArgumentError, match=words):
        training_request(given, **options)


def test_there_must_be_something_to_go_on_with(here):
    with pytest.raises(RunError, match="holds no training to go on with"):
        training_request({}, out=here / "none", resume=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("net: lenet6\ndata: digits", "line 1: no model 'lenet6'. Did you mean 'lenet'?"),
        ("net: lenet5\ndata: digts", "line 2: no data set 'digts'. Did you mean 'digits'?"),
        (
            "net: lenet5\ndata: digits\nprobes:\n  sensitivity: {draws: 2}\n  filters:\n    layer: conv1",
            "line 6: filters: no option 'layer'. Did you mean 'layers'?",
        ),
        ("net: lenet5\ndata: digits\nprobes:\n  sensitvity: {}", "line 4: no probe 'sensitvity'."),
        ("net: lenet5\ndata: digits\nprobes:\n  accuracy:\n    draws: [1]", "line 5: accuracy.draws: expected"),
        ("net: lenet5\ndata: digits\nmonitors:\n  accuracy: {evry: epoch}", "line 4: accuracy: no option 'evry'."),
    ],
)
def test_a_name_that_a_file_has_wrong_is_told_with_the_file_and_its_line(here, text, words):
    file = here / "t.yaml"
    file.write_text(f"{text}\n")
    with pytest.raises(ArgumentError) as caught:
        training_request({}, config=file)
    assert str(caught.value).startswith(f"{file}: {words}")


def test_a_name_that_is_wrong_on_the_command_line_is_not_laid_to_the_file(here):
    file = here / "t.yaml"
    file.write_text("net: lenet5\ndata: digits\n")
    with pytest.raises(ArgumentError, match=r"^sensitivity: no option 'draw'\. Did you mean 'draws'"):
        training_request({}, config=file, settings=["sensitivity.draw=2"])


def test_a_value_that_is_no_yaml_is_refused_for_what_it_is():
    with pytest.raises(ArgumentError, match=r"lr: expected number; got '\[1'"):
        training_request(GIVEN, settings=["lr=[1"])
