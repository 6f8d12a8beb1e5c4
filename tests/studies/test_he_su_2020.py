"""The study of He and Su in small: its pairs, what is read off a clustering, and verdicts from made matrices."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

import flexure
from flexure import studies
from flexure.data import groups_in
from flexure.errors import ArgumentError
from flexure.fleet import read_sweep
from flexure.results import Result, Run
from flexure.runs.train import train_spec
from flexure.runs.training_spec import TrainingSpec
from flexure.studies import Study, clustered, measured
from flexure.studies.he_su_2020.study import JUDGES, accuracies
from flexure.studies.lab import Lab

PAIRS = {"5+8": "3+9", "4+9": "5+7", "7+9": "4+5", "5+9": "4+8", "3+5": "8+9", "3+8": "5"}
SMALL = {"epochs": 2, "test_every": 2, "limit": 40, "test_limit": 20, "measure_limit": 20, "threads": 1}
POINTS = {"epochs": 2, "test_every": 2, "width": 0.001, "threads": 1}


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_pairs_are_the_papers_and_networks_are_measured_on_the_images_of_the_pair(mode):
    sets = Study.read("he_su_2020").networks
    found = {groups_in(name)[1] for name in sets["mnist"][mode]["grid"]["data"]}
    assert {("+".join(pair), "+".join(others)) for others, pair in found} == set(PAIRS.items())
    assert len({groups_in(name)[1][1] for name in sets["cifar"][mode]["grid"]["data"]}) == 6
    for one in sets.values():
        base = one[mode]["base"]
        assert (base["measure_on"], base["measure_label"], base["num_classes"]) == ("train", 1, 1)
    base = sets["mnist"][mode]["base"]
    assert base["limit"] == 2 * base["measure_limit"]  # as many auxiliary images as there are of the pair


def test_class_folders_are_found_behind_a_name_with_groups(tmp_path):
    for split in ("train", "test"):
        (tmp_path / "cifar10" / split).mkdir(parents=True)
    lab = Lab(Study.read("he_su_2020"), "quick", tmp_path / "out", tmp_path)
    assert lab._data("cifar10:groups=bird/automobile+cat") == {
        "data": f"folder:{tmp_path}/cifar10:groups=bird/automobile+cat"
    }
    assert lab._data("mnist:groups=5/3+8") == {"data": "mnist:groups=5/3+8", "root": str(tmp_path)}


def small(study: Study) -> Study:
    """The same claims on tiny networks, two pairs and two seeds, with the digits that need no file."""
    networks = {}
    for name, modes in study.networks.items():
        quick = modes["quick"]
        points = name in ("torus", "boxes")
        base = {**quick["base"], **(POINTS if points else SMALL)}
        grid: dict = {"seed": [0, 1]}
        if not points:
            grid["data"] = ["digits:groups=5/3+8", "digits:groups=3+9/5+8"]
            base |= {"data": "digits", "image_size": [28, 28]}
        runs = [{**run, "width": 0.001, "epochs": 2, "test_every": 2} for run in quick["runs"]]
        networks[name] = {"quick": {"base": base, "grid": grid, "runs": runs}}
    return dataclasses.replace(study, networks=networks)


@pytest.mark.slow
def test_the_whole_study_in_small(monkeypatch, tmp_path):
    study = small(Study.read("he_su_2020"))
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: study))
    found = studies.study("he_su_2020", root=tmp_path, out=tmp_path / "s").to_frame().set_index("claim")
    assert not (found["verdict"] == "not tried").any()
    assert found.loc["torus_relu", "n"] == found.loc["boxes_contrast_signed", "n"] == 2
    assert found.loc["mnist_linear_kmeans", "n"] == 4 and (found.loc[found["n"] > 0, "value"].abs() <= 1).all()
    table = accuracies(read_sweep(tmp_path / "s" / "mnist"))
    assert table.shape == (16, 2) and ((table >= 0.5) & (table <= 1)).all(axis=None)
    assert list(table.columns) == ["3+8", "5+8"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network of the study's kind on its digits, in a folder."""
    fields = {"net": "fnn", "width": 0.001, "data": "digits:groups=3+9/5+8", "loss": "squared", "num_classes": 1}
    fields |= {"lr": 0.01, "momentum": 0.0, "measure_on": "train", "measure_label": 1, "probes": {"elasticity": {}}}
    return train_spec(TrainingSpec.of({**fields, **SMALL}), out=tmp_path_factory.mktemp("runs") / "one")


def test_accuracies_are_those_of_clusters_of_the_images_that_were_measured(trained):
    images = measured.images_of(trained)
    assert images.indices.tolist() == trained["elasticity"]["index"].tolist()
    pixels = images.read(range(len(images))).x.flatten(1).numpy()
    hidden = measured.network_of(trained).model.layers[:2]
    features = hidden(images.read(range(len(images))).x.flatten(1)).detach().numpy()
    by_hand = flexure.cluster(trained["elasticity"], features={"pixels": pixels, "features": features}).table
    expected = by_hand.set_index("similarity")["accuracy"]
    for by in ("relative", "kernel", "pixels", "features"):
        assert clustered.accuracy(trained, by) == expected[by]
    for by in clustered.BY:
        assert 0.5 <= clustered.accuracy(trained, by) <= 1


def test_what_images_cannot_be_clustered_by_is_refused(trained):
    with pytest.raises(ArgumentError, match=r"by no 'pixel'\. Did you mean 'pixels'"):
        clustered.accuracy(trained, "pixel")
    with pytest.raises(ArgumentError, match="lies in no folder"):
        clustered.accuracy(dataclasses.replace(trained, folder=None), "kernel")
    with pytest.raises(ArgumentError, match="images know no distances; points of a synthetic set do"):
        measured.distances(trained)


def run_of(seed, twin, kernel, far):
    """A network whose similarity to others is known, on points whose distances are."""
    table = pd.DataFrame({"layer": ["output"], "n": [len(far)], "status": ["measured"]})
    arrays = {"relative": np.abs(kernel), "relative_signed": kernel}
    result = Result("elasticity", "?", table, arrays, provenance={"specimen": {"name": "made"}})
    spec = {"net": "fnn", "loss": "squared", "seed": seed, "data": "made"} | ({"twin": "linear"} if twin else {})
    return Run("made", spec, {}, {"elasticity": result})


def test_the_contrast_is_between_networks_of_one_seed_and_lies_in_the_absolute_value(monkeypatch):
    place = np.linspace(-1, 1, 30)
    far = np.abs(place[:, None] - place)
    monkeypatch.setattr(measured, "distances", lambda run: far)
    noise = [np.random.default_rng(seed).normal(0, 0.05, far.shape) for seed in range(3)]
    runs = [run_of(seed, False, 1.2 - far / 2 + noise[seed], far) for seed in range(3)]
    runs += [run_of(seed, True, 1 - far + noise[seed], far) for seed in (2, 0, 1)]
    claims = {claim.name: claim for claim in Study.read("he_su_2020").claims}

    def judged(name):
        return JUDGES[name]([run for run in runs if claims[name].uses(run.spec)], claims[name].settings)

    assert judged("torus_relu").value < -0.95 and judged("torus_relu").n == 3
    assert abs(judged("torus_linear").value) < 0.6 and judged("torus_linear_signed").value < -0.95
    contrast = judged("torus_contrast")
    assert contrast.value == pytest.approx(judged("torus_relu").value - judged("torus_linear").value)
    assert contrast.n == 3 and contrast.value < -0.3 and abs(judged("torus_contrast_signed").value) < 0.05


def test_two_ways_of_clustering_are_compared_on_the_same_images(monkeypatch):
    scores = {("fnn", seed): 0.5 + seed / 10 for seed in range(4)} | {("mnist_cnn", seed): 0.6 for seed in range(4)}
    monkeypatch.setattr(clustered, "accuracy", lambda run, by: scores[run.spec["net"], run.spec["seed"]])
    data = {"data": "mnist:groups=5/3+8", "loss": "squared"}
    runs = [Run("r", {**data, "net": net, "seed": seed}, {}, {}) for net, seed in scores]
    settings = {"better": {"net": "fnn", "by": "kernel"}, "worse": {"net": "mnist_cnn", "by": "kernel"}}
    found = JUDGES["mnist_cnn_fnn"](runs[::-1], settings)
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3) and "1 tie left out" in found.words
    assert JUDGES["mnist_linear_kmeans"](runs, settings).value == pytest.approx(0.05)
    assert math.isnan(JUDGES["mnist_cnn_fnn"]([], settings).value)
