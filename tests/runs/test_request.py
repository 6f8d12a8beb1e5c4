"""Flags, files and folders, put together into one run."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flexure import data, models
from flexure.errors import ArgumentError, RunError
from flexure.probes import check_probes
from flexure.results import read
from flexure.runs.request import prepare, request
from flexure.runs.spec import Spec

NET = {"model": "lenet5", "data": "digits"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_flags_alone_make_a_run_in_a_fresh_folder(here):
    asked = request({**NET, "limit": 20}, settings=["sensitivity.draws=2"], probes=["sensitivity"])
    assert (asked.out, asked.resume, asked.demo) == (Path("runs/lenet5-digits"), False, False)
    assert asked.spec == Spec(**NET, limit=20, probes={"sensitivity": {"draws": 2}})
    (here / "runs" / "lenet5-digits").mkdir(parents=True)
    assert request(NET).out == Path("runs/lenet5-digits-2")


def test_flags_win_over_the_file(here):
    Path("run.yaml").write_text(
        "model: lenet5\ndata: digits\nseed: 4\nlimit: 9\nprobes: {sensitivity: {draws: 3, cutoff: 2}}"
    )
    spec = request({"seed": 5}, settings=["sensitivity.draws=1"], config="run.yaml").spec
    assert (spec.seed, spec.limit) == (5, 9)
    assert spec.probes == {"sensitivity": {"draws": 1, "cutoff": 2}}


def test_a_file_of_a_run_is_held_to_its_hashes_until_something_else_is_asked():
    Path("run.yaml").write_text("model: lenet5\ndata: digits\nweights_hash: abc\ndata_hash: def\n")
    assert request({}, config="run.yaml").spec.weights_hash == "abc"
    assert request({"batch_size": 8}, config="run.yaml").spec.data_hash == "def"
    assert request({"seed": 8}, config="run.yaml").spec.data_hash is None


@pytest.mark.parametrize(
    ("given", "more", "words"),
    [
        ({"model": "lenet5"}, {}, "--data is missing: which images shall lenet5 be shown?"),
        ({"model": "lenet4", "data": "digits"}, {}, "no model 'lenet4'. Did you mean 'lenet'?"),
        ({"data": "digits", "image_size": 8}, {}, "--data, --image-size without a MODEL: say which network"),
        (NET, {"probes": ["sensitiv"]}, "no probe 'sensitiv'. Did you mean 'sensitivity'?"),
        (NET, {"settings": ["filter.n=1"]}, "no probe 'filter'."),
        (NET, {"settings": ["sensitivity.drws=1"]}, "no option 'drws'. Did you mean 'draws'?"),
        ({}, {"settings": ["sensitivity.drws=1"]}, "no option 'drws'. Did you mean 'draws'?"),
        ({"seed": -1}, {}, "seed: expected greater than or equal to 0; got -1."),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_read(here, given, more, words):
    with pytest.raises(ArgumentError) as caught:
        request(given, **more)
    assert words in str(caught.value)
    assert not list(here.iterdir())


def test_there_must_be_a_run_to_go_on_with():
    with pytest.raises(RunError, match=r"nowhere: holds no run to go on with \(no spec.yaml\)"):
        request({}, out="nowhere", resume=True)


def test_a_folder_is_enough_to_go_on():
    said = []
    first = request({**NET, "limit": 12}, out="mine", probes=["sensitivity"])
    first.carry_out(say=said.append)
    again = request({}, out="mine", resume=True)
    assert again.spec == Spec.read("mine/spec.yaml")
    again.carry_out(say=said.append)
    assert said == [
        "network: lenet5, 61,706 parameters, pixels taken as they are",
        "images: 12 of digits",
        "sensitivity: 3 passes over 12 images",
        "network: lenet5, 61,706 parameters, pixels taken as they are",
        "images: 12 of digits",
        "nothing is left to be measured",
    ]


def test_a_folder_with_another_run_is_refused_before_data_are_read(monkeypatch):
    request({**NET, "limit": 12}, out="mine").carry_out()
    monkeypatch.setattr(data, "load", lambda *args, **kwargs: pytest.fail("read"))
    with pytest.raises(RunError, match=r"holds a run with other settings \(limit: 12 there, 13 asked for\)"):
        request({**NET, "limit": 13}, out="mine", resume=True).carry_out()


def test_the_network_before_training_is_read_from_its_own_file():
    for seed, name in enumerate(("after", "before")):
        save_file(models.resolve("lenet5", seed=seed).model.state_dict(), f"{name}.safetensors")
    spec = Spec(**NET, limit=10, weights="after.safetensors", initial="before.safetensors")
    specimen, images, initial = prepare(spec)
    for seed, model in enumerate((specimen.model, initial)):
        wanted = models.resolve("lenet5", seed=seed).model.state_dict()
        assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())
    assert len(images) == 10


def test_images_take_the_size_of_the_network_and_may_be_those_held_out():
    specimen, images, initial = prepare(Spec(model="lenet5", data="digits8", hold_out=0.25, limit=30))
    assert tuple(images.read([0]).x.shape[-2:]) == specimen.image_size == (28, 28)
    assert initial is None and len(images) == 30
    kept, _ = data.hold_out(data.load("digits8"), 0.25, seed=0)
    assert not set(images.indices.tolist()) & set(kept.indices.tolist())
    _, small, _ = prepare(Spec(model="small_cnn", data="digits", image_size=(12, 16), limit=4))
    assert tuple(small.read([0]).x.shape[-2:]) == (12, 16)


def test_the_demonstration_trains_then_measures_before_and_after(monkeypatch):
    monkeypatch.setattr("flexure.runs.demo.EPOCHS", 2)
    said, heard = [], []
    asked = request({"limit": 40}, settings=["sensitivity.draws=1"])
    assert asked.demo and asked.out == Path("runs/demo")

    def listener(name: str):
        return lambda done, total: heard.append((name, done, total))

    run = asked.carry_out(progress=listener, say=said.append)
    assert said[0] == "training small_cnn on 1,258 digits for 2 epochs; 539 are held out"
    assert said[1].startswith("accuracy on these: 0.")
    assert list(run.results) == list(check_probes(()))
    assert heard[0][:2] == ("training", 1) and {"sensitivity", "accuracy"} <= {name for name, *_ in heard}
    before, after = (read("runs/demo")["sensitivity"].table[name] for name in ("R_init", "R"))
    assert before.notna().all() and (before.iloc[-1] != after.iloc[-1])
    assert request({}).out == Path("runs/demo-2")
    again = request({}, resume=True)
    assert (again.out, again.demo, again.spec.limit) == (Path("runs/demo"), False, 40)
    assert again.carry_out()["sensitivity"].table.equals(run["sensitivity"].table)


def test_the_demonstration_never_trains_on_what_it_measures(monkeypatch):
    seen = []
    monkeypatch.setattr("flexure.training.fit", lambda model, images, **how: seen.extend(images.indices.tolist()))
    asked = request({})
    asked.carry_out()
    measured = prepare(asked.spec)[1].indices.tolist()
    assert len(seen) == 1258 and len(measured) == 539 and not set(seen) & set(measured)


def test_the_demonstration_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr("flexure.runs.demo.EPOCHS", 1)
    for name in ("a", "b"):
        request({"limit": 20, "seed": 3}, out=name).carry_out()
    first, second = (read(name) for name in ("a", "b"))
    assert first["sensitivity"].table.equals(second["sensitivity"].table)
    assert first.spec["weights_hash"] == second.spec["weights_hash"]


def test_the_number_of_threads_is_that_of_the_spec_and_put_back():
    before = torch.get_num_threads()
    Path("run.yaml").write_text("model: lenet5\ndata: digits\nlimit: 12\nthreads: 2\n")
    run = request({}, config="run.yaml").carry_out()
    assert (run.environment["threads"], run["sensitivity"].provenance["threads"]) == (2, 2)
    assert torch.get_num_threads() == before


def test_scale_detection_is_measured_within_its_own_bounds_and_by_its_own_translation(here):
    asked = request(
        {"model": "simple_cnn", "data": "scale-detection-1d:side=64,scale=16", "limit": 20, "num_classes": 1},
        probes=["sensitivity"],
        settings=["sensitivity.transform=images", "sensitivity.layers=readout"],
    )
    specimen, images, _ = prepare(asked.spec)
    assert specimen.bounds == images.bounds == (0.0, 32**0.5)
    assert "LocalTranslation" in asked.carry_out()["sensitivity"].provenance["settings"]["transform"]


def test_a_name_that_a_file_has_wrong_is_told_with_the_file_and_its_line(tmp_path):
    file = tmp_path / "m.yaml"
    file.write_text("model: lenet5\ndata: digits\nprobes:\n  sensitivity:\n    draw: 3\n")
    with pytest.raises(ArgumentError) as caught:
        request({}, config=file)
    assert str(caught.value).startswith(f"{file}: line 5: sensitivity: no option 'draw'. Did you mean 'draws'?")
