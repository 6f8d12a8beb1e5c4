"""The plane with its band, lines and folds, and the curves over displacement, as drawn from a result alone."""

import json
import re

import numpy as np
import pytest
from charts.phase_diagrams import diagram

from flexure.charts import chart
from flexure.errors import ArgumentError


def svg_of(picture, folder) -> str:
    picture.save(folder / "chart.svg")
    return (folder / "chart.svg").read_text(encoding="utf-8")


def marks(svg: str, kind: str) -> list[str]:
    return re.findall(rf'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="{kind}"', svg)


def data_of(picture) -> list[list[dict]]:
    return list(picture.to_dict()["datasets"].values())


def test_every_point_stands_in_the_plane_with_its_share_of_folds(tmp_path):
    result = diagram()
    points = marks(svg_of(chart(result, y="folding"), tmp_path), "circle")
    assert len(points) == len(result)
    row = result.table.iloc[-1]
    assert any(f"folding ± se: {row['folding']:.4g} ± {row['folding_se']:.2g}" in point for point in points)


def test_the_plane_has_the_band_and_lines_of_equal_displacement_at_their_temperatures(tmp_path):
    result = diagram()
    rows = [row for rows in data_of(chart(result, y="plane")) for row in rows]
    band = [row for row in rows if "T1" in row]
    np.testing.assert_array_equal([row["T1"] for row in band], result["curve_T1"])
    np.testing.assert_array_equal([row["T2"] for row in band], result["curve_T2"])
    one_pixel = {row["c"]: row["t"] for row in rows if row.get("δ") == "1 px"}
    for cutoff, low in zip(result["curve_cutoff"], result["curve_T1"], strict=True):
        if cutoff in one_pixel:  # δ = (n / 2) √(πT ln c)
            assert one_pixel[cutoff] == pytest.approx(4 * low)
            assert 16 * np.sqrt(np.pi * one_pixel[cutoff] * np.log(cutoff)) == pytest.approx(1)
    svg = svg_of(chart(result, y="plane"), tmp_path)
    assert ">T1<" in svg and ">T2<" in svg and ">1 px<" in svg


@pytest.mark.parametrize("name", ["R", "D", "G"])
def test_there_is_a_curve_for_every_cut_off_with_its_numbers_unrounded(tmp_path, name):
    result = diagram()
    picture = chart(result, y=name)
    rows = [row for row in max(data_of(picture), key=len) if row]
    np.testing.assert_array_equal([row[name] for row in rows], result[name])
    svg = svg_of(picture, tmp_path)
    assert len(marks(svg, "point")) == len(result)
    assert svg.count('aria-roledescription="line mark"') == 3
    assert (">1<" in svg) or name != "R"


def test_points_outside_the_band_are_hollow(tmp_path):
    result = diagram()
    svg = svg_of(chart(result, y="D"), tmp_path)
    points = re.findall(r'aria-roledescription="point"[^>]*? fill="([^"]*)"', svg)
    assert points.count("white") == int((~result["in_band"]).sum())


def test_a_point_that_was_not_measured_is_a_gap(tmp_path):
    result = diagram(unmeasured={4: "non-finite at image 3"})
    svg = svg_of(chart(result, y="R"), tmp_path)
    line = re.search(r'aria-roledescription="line mark"[^>]*? d="([^"]*)"', svg)
    assert line and line[1].count("M") == 2
    assert len(marks(svg, "point")) == len(result) - 1


def test_by_default_there_is_the_plane_of_folds_and_r_and_several_results_are_laid_over_one_another(tmp_path):
    svg = svg_of(chart([diagram(), diagram(end=0.5)], labels=["one", "other"]), tmp_path)
    assert "Which deformations fold the image?" in svg and "R = D / G" in svg
    assert svg.count('aria-roledescription="line mark"') >= 6 and ">one<" in svg and ">other<" in svg
    assert len(marks(svg, "circle")) == len(diagram())


def test_planes_of_several_results_have_the_same_colors_for_the_same_values():
    picture = chart([diagram(), diagram(end=0.01)], labels=["one", "other"], y="plane").to_dict()
    text = [json.dumps(panel) for panel in picture["vconcat"]]
    domains = [re.findall(r'"field": "R".*?"domain": (\[[^]]*\])', panel) for panel in text]
    assert len(domains) == 2 and domains[0] and domains[0] == domains[1]
    assert [panel["title"]["text"].partition(" — ")[2] for panel in picture["vconcat"]] == ["one", "other"]


def test_one_cut_off_and_one_temperature_can_be_drawn(tmp_path):
    for name in ("folding", "plane", "R"):
        assert "<svg" in svg_of(chart(diagram(cutoffs=(4,), temperatures=1), y=name), tmp_path)


def test_an_empty_diagram_says_that_there_is_nothing_to_draw(tmp_path):
    nothing = diagram(unmeasured=dict.fromkeys(range(24), "constant output"))
    assert "nothing to draw" in svg_of(chart(nothing, y="R"), tmp_path)
    assert "<svg" in svg_of(chart(nothing, y="plane"), tmp_path)


def test_an_unknown_quantity_is_refused_with_those_there_are():
    with pytest.raises(ArgumentError, match=r"y='folds' cannot be drawn. Did you mean 'folding'"):
        chart(diagram(), y="folds")
