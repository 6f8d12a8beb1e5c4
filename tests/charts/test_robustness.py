"""The picture of robustness: every attack begins with the images as they are, and bands are the intervals."""

import json

import numpy as np
import pandas as pd
import pytest

import flexure
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

ATTACKS = ("sign-noise", "fgsm", "pgd", "pgd-margin", "worst")
CHECKS = ((True, "Left 0."), (False, "<b>Odd."), (None, "None."))


def result(name="net", eps=(0.03, 0.1), lost=0.0, status=MEASURED, minimum=(), **provenance):
    cells = [("clean", "linf", 0.0), *((attack, "linf", size) for attack in ATTACKS for size in eps)]
    cells += [(attack, "l2", np.nan) for attack in minimum]
    table = pd.DataFrame(cells, columns=["attack", "norm", "eps"])
    table.insert(0, "layer", "output")
    right = np.linspace(0.95, 0.1, len(table)) - lost
    right = np.where(status == MEASURED, right, np.nan)
    table["robust_accuracy"], table["robust_accuracy_se"] = right, 0.02
    table["low"], table["high"] = right - 0.04, right + 0.04
    table["success"], table["success_se"] = 1 - right / 0.95, 0.02
    table["clean_accuracy"], table["clean_accuracy_se"] = 0.95, 0.01
    near = np.where(table["eps"].isna(), 1.0, np.nan)
    table["median_norm"], table["median_norm_low"], table["median_norm_high"] = near, near - 0.1, near + 0.1
    table["n"], table["status"] = 200, status
    curves = np.linspace(0.9, 0.2, 2 * len(eps) * 5).reshape(2, len(eps), 5)
    about = {
        "specimen": {"name": name, "bounds": [0.0, 1.0]},
        "settings": {"eps": list(eps), "steps": 4, "step": 0.1, "starts": ["random", "clean"]},
        "climbs": ["pgd", "pgd-margin"],
        "sanity": [{"check": "some", "fine": fine, "says": says} for fine, says in CHECKS],
        **provenance,
    }
    return Result("robustness", "How often?", table, arrays={"by_step": curves}, provenance=about)


def written(chart):
    return json.loads(chart.to_json())


def records(spec):
    return next(iter(spec["datasets"].values()))


def test_every_attack_begins_at_zero_with_the_clean_accuracy():
    rows = records(written(flexure.chart(result())))
    assert [row["attack"] for row in rows] == [name for name in ATTACKS for _ in range(3)]
    assert [row["eps"] for row in rows[:3]] == [0, 0.03, 0.1]
    assert all(row["value"] == 0.95 for row in rows if row["eps"] == 0)
    assert rows[1]["low"] == pytest.approx(rows[1]["value"] - 0.04)


def test_an_eps_of_zero_that_was_measured_stands_for_itself():
    rows = records(written(flexure.chart(result(eps=(0.0, 0.1)))))
    assert [row["eps"] for row in rows[:2]] == [0, 0.1] and len(rows) == 10


def test_several_networks_have_a_color_each_and_fgsm_stands_beside_pgd():
    spec = written(flexure.chart([result(), result("other", lost=0.05)]))
    rows = records(spec)
    assert {(row["run"], row["attack"]) for row in rows} == {
        (run, name) for run in ("net", "other") for name in ("fgsm", "pgd", "worst")
    }
    assert spec["layer"][1]["encoding"]["color"]["field"] == "run"
    assert spec["layer"][1]["encoding"]["strokeDash"]["field"] == "attack"


def test_attacks_without_a_budget_have_no_place_over_eps():
    rows = records(written(flexure.chart(result(minimum=("deepfool",)))))
    assert "deepfool" not in {row["attack"] for row in rows}


def test_attacks_keep_their_colors_from_panel_to_panel():
    spec = written(flexure.chart(result(), y=["robust_accuracy", "success", "by_step"]))
    scales = [panel.get("layer", [panel])[-1]["encoding"]["color"]["scale"] for panel in spec["vconcat"]]
    assert scales[0] == scales[1] == scales[2]
    assert [panel["title"]["text"] for panel in spec["vconcat"]] == [
        "Robust accuracy", "Success of the attacks", "PGD, step by step",
    ]  # fmt: skip


def test_there_is_a_line_over_steps_for_every_climb_and_budget():
    rows = records(written(flexure.chart(result(), y="by_step")))
    assert len(rows) == 2 * 2 * 5 and {row["step"] for row in rows} == set(range(5))
    both = records(written(flexure.chart([result(), result("other")], y="by_step")))
    assert {(row["run"], row["attack"]) for row in both} == {("net", "pgd"), ("other", "pgd")}
    assert rows[0]["value"] == pytest.approx(0.9) and rows[-1]["value"] == pytest.approx(0.2)


def test_what_was_not_measured_is_a_gap():
    rows = records(written(flexure.chart(result(status="no labels"))))
    assert {row["value"] for row in rows} == {None}


def test_another_quantity_is_refused_with_those_there_are():
    with pytest.raises(ArgumentError, match=r"chart of robustness: y='pgd' .*Valid: by_step, robust_accuracy, success"):
        flexure.chart(result(), y="pgd")


def test_it_is_drawn_without_a_browser(tmp_path):
    flexure.chart([result(), result("b")], y=["robust_accuracy", "by_step"]).save(tmp_path / "two.svg")
    assert "<svg" in (tmp_path / "two.svg").read_text(encoding="utf-8")


def test_lines_over_steps_are_named_by_their_eps():
    spec = written(flexure.chart([result("one"), result("two", lost=0.05)], y="by_step"))
    names = [rows for rows in spec["datasets"].values() if "words" in rows[0]]
    assert [row["words"] for row in names[0]] == ["eps 0.03", "eps 0.1"] and {row["step"] for row in names[0]} == {0}
