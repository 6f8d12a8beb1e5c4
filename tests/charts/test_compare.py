"""The scatter of many networks: every point, its bars, the fitted powers, a legend for whatever differs."""

import json

import numpy as np
import pytest
import vl_convert
from analysis.many import law, run, sensitivity

from flexure.analysis.compare import compare
from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Run


def rows_with(picture, *names) -> list[dict]:
    """The data of a chart that have all these fields."""
    return next(rows for rows in picture.to_dict()["datasets"].values() if rows and set(names) <= set(rows[0]))


def legends_of(picture) -> list[str]:
    spec = vl_convert.vegalite_to_vega(picture.to_dict())
    spec = spec if isinstance(spec, dict) else json.loads(spec)
    return [
        next(channel for channel in ("shape", "fill", "stroke") if channel in one) for one in spec.get("legends", [])
    ]


def test_the_chart_carries_the_points_and_the_line_of_the_table():
    found = compare(law(9, exponent=0.5, scatter=0.2))
    picture = chart(found)
    points, lines = rows_with(picture, "family"), rows_with(picture, "fitted")
    assert [point["x"] for point in points] == list(found["point_R"])
    assert [point["error_se"] for point in points] == list(found["point_error_se"])
    row = found.to_frame().query("quantity == 'R'").iloc[0]
    for place in lines:
        assert place["fitted"] == pytest.approx(row["prefactor"] * place["x"] ** row["exponent"])
        assert place["low"] <= place["fitted"] <= place["high"]


def test_r_is_drawn_unless_something_else_is_asked_for():
    found = compare(law(6, exponent=0.5, scatter=0.2))
    assert chart(found).to_dict()["title"]["text"] == "Test error against R = D / G"
    titles = [panel["title"]["text"] for panel in chart(found, y=["D", "correlation"]).to_dict()["vconcat"]]
    assert titles == ["Test error against D (smooth deformation)", "Correlation of test error with D, G, R"]
    with pytest.raises(ArgumentError, match=r"chart of compare: y='S' cannot be drawn. .*Valid: D, G, R, correlation"):
        chart(found, y="S")


def test_the_title_names_what_bent_the_images():
    moved = []
    for one in law(6, exponent=0.5, scatter=0.2):
        values = {name: float(one["sensitivity"][name][-1]) for name in "DGR"}
        of_moves = sensitivity(values, settings={"transform": "LocalTranslation(periodic=True)"})
        moved.append(Run(one.name, one.spec, {}, {**one.results, "sensitivity": of_moves}))
    found = compare(moved)
    assert chart(found, y="D").to_dict()["title"]["text"] == "Test error against D (local translation)"
    mixed = compare([*moved[:3], *law(6, exponent=0.5, scatter=0.2)[3:]])
    assert chart(mixed, y="D").to_dict()["title"]["text"] == "Test error against D (transform)"
    assert any("measured alike: transform LocalTranslation(periodic=True) or None" in note for note in mixed.notes)


def test_families_have_colors_and_corruption_levels_shapes_with_a_legend_each():
    runs = [*law(8, exponent=0.5, scatter=0.1), *law(8, exponent=0.5, scatter=0.1, corruption=10, seed=1)]
    assert sorted(legends_of(chart(compare(runs)))) == ["fill", "shape"]
    assert legends_of(chart(compare(law(8, exponent=0.5, scatter=0.1)))) == ["fill"]
    assert legends_of(chart(compare(runs), legend=False)) == []
    groups = {row["group"] for row in rows_with(chart(compare(runs)), "group")}
    assert groups == {"corruption 0", "corruption 10"}


def test_correlations_are_drawn_per_level_with_their_intervals():
    runs = [*law(8, exponent=0.5, scatter=0.3), *law(4, exponent=0.5, scatter=0.3, corruption=10, seed=1)]
    found = compare(runs)
    rows = rows_with(chart(found, y="correlation"), "corruption", "value")
    assert [row["value"] for row in rows] == list(found["correlation"])
    assert [row["low"] is None for row in rows] == [False] * 3 + [True] * 3  # no interval from four networks


def test_a_fit_that_is_not_there_leaves_the_points_alone(tmp_path):
    found = compare([run("VGG11", i, {"R": 1.0 + i}, 0.1) for i in range(2)], x="R")
    chart(found).save(tmp_path / "two.svg")
    assert len(rows_with(chart(found), "family")) == 2
    zero = compare([*law(6, exponent=0.5), run("Perfect", 0, {"D": 0.1, "G": 1.0, "R": 0.1}, 0.0)])
    assert "1 value of zero: not on a log axis." in chart(zero).to_dict()["title"]["subtitle"][0]
    nothing = compare([run("VGG11", 0, {"R": np.nan}, 0.1)], x="R")
    chart(nothing).save(tmp_path / "none.svg")


def test_several_comparisons_lie_over_one_another():
    results = [compare(law(6, exponent=b, scatter=0.1, seed=i)) for i, b in enumerate((0.5, 1.0))]
    picture = chart(results, labels=["one", "two"])
    assert {row["group"] for row in rows_with(picture, "group")} == {"one", "two"}
