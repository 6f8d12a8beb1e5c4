"""What was asked for: the same in YAML and Python, and wrong fields named with their line."""

import json

import pytest
import yaml

from flexure.errors import ArgumentError, FlexureError
from flexure.fleet.plan import plan
from flexure.runs.request import request
from flexure.runs.spec import Spec, check_names, schema
from flexure.runs.training_request import training_request

FULL = {
    "model": "resnet20",
    "weights": "w.safetensors",
    "normalize": [[0.5, 0.4, 0.3], [0.2, 0.2, 0.2]],
    "data": "folder:street/ö",
    "limit": 500,
    "image_size": [32, 48],
    "probes": {"sensitivity": {"draws": 4, "layers": ["conv*", "fc"]}},
    "seed": 7,
    "dtype": "float64",
}


def test_a_spec_comes_back_from_yaml_as_it_was(tmp_path):
    spec = Spec.of(FULL)
    (tmp_path / "spec.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    again = Spec.read(tmp_path / "spec.yaml")
    assert again.hash == spec.hash
    assert again.settings() == spec.settings()
    assert again.probes == FULL["probes"]
    assert again.image_size == (32, 48)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"seed": 8}, False),
        ({"probes": {}}, False),
        ({"trust": True}, True),
        ({"download": True}, True),
        ({"root": "elsewhere"}, True),
    ],
)
def test_the_hash_follows_what_decides_the_numbers(change, same):
    assert (Spec.of({**FULL, **change}).hash == Spec.of(FULL).hash) is same


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "'model' is missing. 'data' is missing."),
        ({**FULL, "seeed": 1}, "no field 'seeed'. Did you mean 'seed'? Valid: batch_size, data,"),
        ({**FULL, "batch_size": 0}, "batch_size: expected greater than 0; got 0."),
        ({**FULL, "image_size": "big"}, "image_size: expected integer or tuple; got 'big'."),
        ({**FULL, "normalize": [[0.5], ["x"]]}, "normalize: expected string or number; got"),
        ({**FULL, "probes": {"sensitivity": [1]}}, "probes.sensitivity: expected dictionary; got [1]."),
        ({**FULL, "dtype": "f32"}, "dtype: expected 'float32', 'float64', 'bfloat16' or 'float16'; got 'f32'."),
        ({**FULL, "hold_out": 1.0}, "hold_out: expected less than 1; got 1.0."),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected(fields, words):
    with pytest.raises(ArgumentError) as caught:
        Spec.of(fields)
    assert words in str(caught.value)


def test_errors_in_a_file_name_the_file_and_the_line(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: resnet20\ndata: digits\nprobes:\n  sensitivity: 3\n\nlimt: 10\n")
    with pytest.raises(ArgumentError) as caught:
        Spec.read(file)
    assert str(caught.value).startswith(f"{file}: line 4: probes.sensitivity: expected dictionary; got 3.")
    assert "line 6: no field 'limt'. Did you mean 'limit'?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "line 1: not YAML: expected"),
        ("model: a\ndata: b\nmodel: c", "line 3: .*'model' stands here"),
        ("model: {{name}}\n", "line 1: not YAML: a name is expected here"),
        ("- 1\n", "expected fields such as 'model: resnet20'; got list"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path, text, words):
    file = tmp_path / "run.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ArgumentError, match=words):
        Spec.read(file)


OTHERS = {
    "measurement": ("model: lenet5", "flexure examine takes it"),
    "training": ("net: lenet5", "flexure train takes it"),
    "training from Python": ("net: Net\nrecipe: {}", r"flexure.train\(…, out=…, resume=True\) goes on with it"),
    "study": ("study: tomasini_2022", "flexure study goes on with it"),
    "sweep": ("base: {net: lenet5}", "flexure sweep takes it"),
}
READERS = {
    "measurement": lambda file: request({}, config=file),
    "training": lambda file: training_request({}, config=file),
    "sweep": plan,
}


@pytest.mark.parametrize(
    ("kind", "wanted"), [(kind, wanted) for kind in OTHERS for wanted in READERS if kind != wanted]
)
def test_a_file_of_another_kind_is_sent_to_the_right_command(tmp_path, kind, wanted):
    file, (text, advice) = tmp_path / "run.yaml", OTHERS[kind]
    file.write_text(f"{text}\n")
    with pytest.raises(ArgumentError, match=rf"run.yaml: describes a {kind}, not a {wanted}; {advice}\."):
        READERS[wanted](file)


def test_yaml_never_builds_objects(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("model: !!python/object/apply:os.getcwd []\ndata: digits\n")
    with pytest.raises(ArgumentError, match="not YAML"):
        Spec.read(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "resnt20"}, "no model 'resnt20'. Did you mean 'resnet20'?"),
        ({"data": "digts"}, "no data set 'digts'. Did you mean 'digits'?"),
        ({"split": "tets"}, "no split 'tets'. Did you mean 'test'?"),
        ({"normalize": "cifr10"}, "no normalization 'cifr10'. Did you mean 'cifar10'?"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here"),
        ({"weights": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
        ({"initial": "nowhere.safetensors"}, "nowhere.safetensors: no such file"),
        ({"probes": {"sensitivty": {}}}, "no probe 'sensitivty'. Did you mean 'sensitivity'?"),
        ({"probes": {"sensitivity": {"drawz": 2}}}, "sensitivity: no option 'drawz'. Did you mean 'draws'?"),
    ],
)
def test_names_are_checked_before_anything_is_read(change, words):
    with pytest.raises(FlexureError) as caught:
        check_names(Spec.of({"model": "resnet20", "data": "digits", **change}))
    assert words in str(caught.value)


def test_the_schema_describes_every_field_for_editors():
    described = schema()
    assert json.loads(json.dumps(described)) == described
    assert set(described["required"]) == {"model", "data"}
    assert all("description" in field for field in described["properties"].values())
    assert yaml.safe_load(Spec.of(FULL).to_yaml()).keys() <= described["properties"].keys()
