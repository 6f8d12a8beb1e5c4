"""Verdicts: where the interval lies against the number fixed beforehand; intervals that cover what they claim to."""

import math
from importlib import import_module

import numpy as np
import pytest

from flexure.errors import ArgumentError
from flexure.studies import STUDIES, Claim, Finding, Study, verdict
from flexure.studies.claims import expectation


def claim(rule="above", value=0.0) -> Claim:
    return Claim("c", "Fig. 1", "It is so.", "slope", rule, value, "nets")


def finding(low, high) -> Finding:
    return Finding((low + high) / 2, 0.1, low, high, 5)


@pytest.mark.parametrize(
    ("rule", "value", "low", "high", "expected"),
    [
        ("above", 0.0, 0.1, 0.2, "reproduced"),
        ("above", 0.0, -0.2, -0.1, "differs"),
        ("above", 0.0, -0.1, 0.1, "undecided"),
        ("above", 0.0, -0.1, 0.0, "differs"),
        ("below", 0.0, -0.2, -0.1, "reproduced"),
        ("below", 0.0, 0.1, 0.2, "differs"),
        ("within", (0.0, 1.0), 0.2, 0.8, "reproduced"),
        ("within", (0.0, 1.0), 1.2, 1.8, "differs"),
        ("within", (0.0, 1.0), -0.1, 0.8, "undecided"),
        ("within", (0.0, 1.0), -0.1, 1.8, "undecided"),
        ("above", 0.0, math.nan, math.nan, "undecided"),
    ],
)
def test_the_whole_interval_has_to_lie_where_the_claim_says(rule, value, low, high, expected):
    assert verdict(claim(rule, value), finding(low, high)) == expected


def test_the_rule_in_words():
    assert expectation(claim("within", [-0.3, 0.3])) == "within -0.3 and 0.3"
    assert expectation(claim("below", 0.5)) == "below 0.5"


@pytest.mark.parametrize(("rule", "value", "words"), [
    ("abuve", 0.0, "no rule 'abuve'. Did you mean 'above'"),
    ("within", 0.0, "rule 'within' does not go with value 0.0"),
    ("above", (0.0, 1.0), "rule 'above' does not go with value"),
])  # fmt: skip
def test_a_claim_that_cannot_be_judged_is_refused(rule, value, words):
    with pytest.raises(ArgumentError, match=words):
        claim(rule, value)


@pytest.mark.parametrize("n", [6, 12])
def test_intervals_cover_the_truth_in_at_least_their_share_of_cases(n):
    rng = np.random.default_rng(0)
    found = [Finding.mean(rng.normal(1.0, 2.0, n)) for _ in range(2000)]
    covered = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert covered >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 2000)


@pytest.mark.parametrize("values", [[], [2.0], [2.0, math.nan], [math.inf, -math.inf]])
def test_fewer_than_two_networks_have_no_interval(values):
    found = Finding.mean(values)
    assert math.isnan(found.low) and found.n == sum(map(math.isfinite, values))
    assert verdict(claim(), found) == "undecided"


def test_a_network_without_the_number_does_not_void_those_of_the_others():
    found, without = Finding.mean([1.0, math.nan, 3.0, math.inf]), Finding.mean([1.0, 3.0])
    assert (found.value, found.se, found.low, found.n) == (without.value, without.se, without.low, 2)
    assert found.words == "2 of 4 networks left out: no such number" and not without.words


def test_how_often_one_is_ahead_of_another_has_the_exact_binomial_interval():
    found = Finding.share([0.2] * 9 + [-0.1] * 3 + [0.0, math.nan])
    assert (found.value, found.n) == (0.75, 12)
    assert found.se == pytest.approx(math.sqrt(0.75 * 0.25 / 12))
    assert (found.low, found.high) == pytest.approx((0.42814, 0.94514), abs=1e-5)  # tables of Clopper and Pearson
    assert found.words.startswith("ahead by 0.115 ±") and "1 tie left out; 1 of 14 networks left out" in found.words
    assert verdict(claim(value=0.5), Finding.share([0.1] * 10)) == "reproduced"
    nothing = Finding.share([0.0, 0.0])
    assert nothing.n == 0 and verdict(claim(value=0.5), nothing) == "undecided" and "2 ties" in nothing.words


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_intervals_of_shares_cover_the_truth_in_at_least_their_share_of_cases(share):
    covered = 0.0
    for wins in range(19):
        found = Finding.share([1.0] * wins + [-1.0] * (18 - wins))
        covered += math.comb(18, wins) * share**wins * (1 - share) ** (18 - wins) * (found.low <= share <= found.high)
    assert covered >= 0.95


_SAY = {"nets", "kernel", "linear", "better"}  # settings that say which networks a claim is about


@pytest.mark.parametrize("name", STUDIES)
def test_every_claim_names_its_networks_and_has_a_judge(name):
    study = Study.read(name)
    judges = import_module(f"flexure.studies.{name}.study").JUDGES
    names = [claim.name for claim in study.claims]
    assert len(set(names)) == len(names)
    assert set(judges) == set(names)
    for one in study.claims:
        assert "full" in study.networks[one.networks], one.name
        for mode, found in study.networks[one.networks].items():
            asked = study.networks[found["same"]][mode] if "same" in found else found
            used = [one.uses({**asked["base"], **run}) for run in asked["runs"]]
            assert any(used) and all(used) == (not _SAY & one.settings.keys()), one.name
    assert {"title", "authors", "year", "arxiv", "fixed", "full_hours", "full_device"} <= study.about.keys()


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_a_set_like_another_says_only_what_differs(mode):
    sets = Study.read("tomasini_2022").networks
    clean, corrupted = sets["cifar"][mode], sets["cifar_corrupted"][mode]
    assert corrupted["runs"] == clean["runs"] and not corrupted["ready"] and "like" not in corrupted
    differing = {field for field in corrupted["base"] if corrupted["base"][field] != clean["base"].get(field)}
    assert differing == {"corruption", "probes"} and clean["base"].keys() <= corrupted["base"].keys()


def test_a_study_uses_public_names_alone():
    import ast
    from pathlib import Path

    import flexure.studies

    for path in Path(flexure.studies.__file__).parent.glob("*_*/study.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("flexure"):
                assert not any(alias.name.startswith("_") for alias in node.names)
                assert node.module == "flexure" or node.module.startswith(("flexure.studies", "flexure.analysis"))
