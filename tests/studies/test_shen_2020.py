"""The study of Shen, Chen and Wang in small: which networks are compared, and what is read off them."""

import dataclasses
import importlib.util
import math

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import flexure
from flexure import studies
from flexure.errors import MissingPackageError
from flexure.results import Result, Run
from flexure.runs.train import train_spec
from flexure.runs.training_spec import TrainingSpec
from flexure.studies import Study
from flexure.studies.shen_2020.study import JUDGES

STUDY = Study.read("shen_2020")
SMALL = {"limit": 40, "epochs": 1, "test_every": 1, "measure_limit": 10, "test_limit": 20, "hold_out": 0.5}
CHEAP = {"accuracy": {}, "robustness": {"eps": [0.1], "steps": 2, "starts": ["clean"]}}


def settings(name):
    return next(claim.settings for claim in STUDY.claims if claim.name == name)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of the four kinds of training, on few digits."""
    base = {**STUDY.networks["digits"]["quick"]["base"], **SMALL, "probes": CHEAP}
    folder = tmp_path_factory.mktemp("runs")
    asked = [{**base, **kind, "seed": seed} for kind in STUDY.networks["digits"]["quick"]["runs"] for seed in (0, 1)]
    return [train_spec(TrainingSpec.of(fields), out=folder / str(i)) for i, fields in enumerate(asked)]


def test_weights_are_read_off_the_networks_without_a_penalty(runs):
    plain = [run for run in runs if run.spec.get("penalty") is None]
    assert [run.spec["seed"] for run in plain] == [0, 1]
    changes = []
    for run in plain:
        before, after = (load_file(run.folder / f"{state}.safetensors") for state in ("initial", "last"))
        size = lambda weights, layer: float(weights[f"{layer}.weight"].abs().mean())  # noqa: E731
        own = [
            (size(after, layer) - size(before, layer)) * math.sqrt(fan_in)
            for layer, fan_in in (("conv1", 25), ("conv2", 150))
        ]
        changes.append(np.mean(own))
    found = JUDGES["digits_center"](runs, settings("digits_center"))
    assert found.value == pytest.approx(np.mean(changes), rel=1e-4) and found.n == 2
    found = JUDGES["digits_running"](runs, settings("digits_running"))
    assert found.n == 2 and abs(found.value) < 0.2


def test_the_excess_over_shuffles_is_that_of_the_permutation_null(runs):
    found = JUDGES["digits_center_shuffled"](runs, settings("digits_center_shuffled"))
    weights = flexure.resolve("lenet8", weights=runs[0].folder / "last.safetensors")
    one = flexure.fuzziness(weights, before=runs[0].folder / "initial.safetensors", shuffle_draws=20)
    assert found.n == 2 and abs(found.value - one["excess"].mean()) < 0.1
    assert abs(one["fuzziness"][0] - one["fuzziness_shuffled"][0] - one["excess"][0]) < 1e-6


def test_paths_are_read_beside_random_walks(runs):
    table = runs[0]["monitor_trajectories"].to_frame()
    found = JUDGES["digits_trajectory"](runs[:1], settings("digits_trajectory"))
    assert found.value == pytest.approx((table["near_end"] - table["near_end_null"]).mean())


@pytest.mark.parametrize("name", ["fgsm", "pgd", "l1_l2"])
def test_trainings_are_compared_seed_by_seed(runs, name):
    asked = settings(f"digits_{name}")
    kinds = {"none": runs[:2], "fuzziness": runs[2:4], "l1-l2": runs[4:6], "l1": runs[6:8]}

    def robust(run):
        table = run["robustness"].to_frame()
        return table[(table["attack"] == asked["attack"]) & (table["eps"] == 0.1)]["robust_accuracy"].item()

    pairs = zip(kinds[asked["kind"]], kinds[asked["against"]], strict=True)
    expected = studies.Finding.mean([robust(ours) - robust(theirs) for ours, theirs in pairs])
    found = JUDGES[f"digits_{name}"](runs[::-1], asked)
    assert (found.value, found.n) == (pytest.approx(expected.value), 2)


def test_without_the_toolbox_autoattack_is_not_tried(runs):
    if importlib.util.find_spec("art") is not None:
        pytest.skip("the toolbox is there")
    with pytest.raises(MissingPackageError, match=r'pip install "flexure\[attacks\]"'):
        JUDGES["digits_autoattack"](runs, settings("digits_autoattack"))


def made(seed, kind, accuracy):
    table = pd.DataFrame({"attack": ["clean", "pgd"], "eps": [0.0, 0.1], "robust_accuracy": [1.0, accuracy]})
    spec = {"net": "lenet8", "seed": seed, "penalty": kind and {"minmax": {"kind": kind}}}
    return Run("made", spec, {}, {"robustness": Result("robustness", "?", table)})


def test_a_gain_that_every_seed_has_is_reproduced_and_a_loss_differs():
    claim = next(claim for claim in STUDY.claims if claim.name == "mnist_pgd")
    for gain, ended in ((0.1, "reproduced"), (-0.1, "differs")):
        runs = [made(seed, None, 0.3 + 0.05 * seed) for seed in range(4)]
        runs += [made(seed, "fuzziness", 0.3 + 0.05 * seed + gain + 0.01 * (seed % 2)) for seed in (3, 1, 0, 2)]
        assert studies.verdict(claim, JUDGES["mnist_pgd"](runs, claim.settings)) == ended


def test_a_penalised_network_has_the_penalty_it_was_trained_with(runs):
    norms = {}
    for run in runs:
        weight = load_file(run.folder / "last.safetensors")["conv1.weight"]
        norms.setdefault(str((run.spec.get("penalty") or {"minmax": {"kind": "none"}})["minmax"]["kind"]), []).append(
            float(torch.linalg.vector_norm(weight, 1))
        )
    assert max(norms["l1"] + norms["l1-l2"]) < min(norms["none"])


def test_every_claim_is_judged_in_the_full_mode_and_those_of_digits_and_mnist_in_the_quick_one():
    assert set(STUDY.judged_in("full")) == {claim.name for claim in STUDY.claims}
    assert all(name.startswith(("digits", "mnist")) for name in STUDY.judged_in("quick"))
    assert len(STUDY.judged_in("quick")) == 16
    assert {claim.value for claim in STUDY.claims} == {0.0}


@pytest.mark.slow
def test_the_whole_study_in_small(monkeypatch, tmp_path):
    sets = {}
    for name, modes in STUDY.networks.items():
        if "quick" in modes and "base" in modes["quick"]:
            base = {**modes["quick"]["base"], **SMALL, "probes": CHEAP, "net": "lenet8", "data": "digits8"}
            sets[name] = {"quick": {**modes["quick"], "base": base, "grid": {"seed": [0, 1]}}}
    sets["mnist_plain"] = {"quick": {"same": "mnist"}}
    claims = tuple(claim for claim in STUDY.claims if claim.name in STUDY.judged_in("quick"))
    small = dataclasses.replace(STUDY, networks=sets, claims=claims)
    monkeypatch.setattr(Study, "read", classmethod(lambda cls, name: small))
    found = studies.study("shen_2020", root=tmp_path, out=tmp_path / "s").to_frame().set_index("claim")
    tried = found[~found.index.str.endswith("autoattack")]
    assert len(found) == 16 and not (tried["verdict"] == "not tried").any() and (tried["n"] == 2).all()
