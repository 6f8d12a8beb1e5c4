import json
import re

import numpy as np
import pandas as pd
import pytest
from charts.make import RESNET20, RESNET50, SMALL, result, run, table, unmeasured

from flexure.charts import chart
from flexure.charts.records import GIVEN, INITIALIZED, SHUFFLED
from flexure.results import Result

NUMBERS = ["D", "D_se", "G", "G_se", "R", "R_se"]


def rows_in(picture) -> pd.DataFrame:
    """The data that a chart carries, as a table."""
    return pd.DataFrame(next(rows for rows in picture.to_dict()["datasets"].values() if "layer" in rows[0]))


def svg_of(picture, folder) -> str:
    picture.save(folder / "chart.svg")
    return (folder / "chart.svg").read_text(encoding="utf-8")


def test_the_chart_carries_the_table_unrounded():
    frame = unmeasured(table(RESNET50), {7: "constant output"})
    drawn = rows_in(chart(result(frame)))
    for suffix, weights in (("", GIVEN), ("_init", INITIALIZED)):
        part = drawn[drawn["weights"] == weights].reset_index(drop=True)
        assert list(part["layer"]) == list(frame["layer"]) and list(part["x"]) == list(range(176))
        for name in NUMBERS:
            column = frame[re.sub(r"^(.)(.*)$", rf"\1{suffix}\2", name)]
            np.testing.assert_array_equal(part[name].astype(float), column)


def test_a_row_that_was_not_measured_is_a_gap_and_keeps_its_reason(tmp_path):
    picture = chart(result(unmeasured(table(init=False), {2: "constant output"})))
    rows = rows_in(picture)
    assert np.isnan(rows.loc[2, "R"]) and rows.loc[2, "status"] == "constant output"
    line = re.search(r'aria-roledescription="line mark"[^>]*? d="([^"]*)"', svg_of(picture, tmp_path))
    assert line and line[1].count("M") == 2 and line[1].count("L") == 2


def test_every_measured_op_is_a_point_with_its_name_and_error(tmp_path):
    frame = unmeasured(table(RESNET20), {3: "not floating point"})
    svg = svg_of(chart(result(frame)), tmp_path)
    points = re.findall(r'aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="point"', svg)
    assert len(points) == 2 * 69
    row = frame.iloc[-1]
    assert any("layer: output" in p and f"R ± se: {row['R']:.4g} ± {row['R_se']:.2g}" in p for p in points)


def test_without_an_initialized_network_there_is_one_curve_and_no_legend_for_weights(tmp_path):
    svg = svg_of(chart(result(table(init=False))), tmp_path)
    assert svg.count('aria-roledescription="line mark"') == 1 and INITIALIZED not in svg


@pytest.mark.parametrize(
    ("init", "styles"),
    [
        (False, {GIVEN: [1, 0], SHUFFLED: [5, 3]}),
        (True, {GIVEN: [1, 0], SHUFFLED: [5, 3], INITIALIZED: [1.5, 2.5]}),
    ],
)
def test_the_curve_of_shuffled_channels_is_dashed_beside_the_full_one_and_has_a_band(tmp_path, init, styles):
    frame = table(RESNET20, init=init, shuffled=True)
    picture = chart(result(frame))
    drawn = rows_in(picture)
    part = drawn[drawn["weights"] == SHUFFLED]
    np.testing.assert_array_equal(part[["R", "R_se"]].astype(float), frame[["R_shuffled", "R_shuffled_se"]])
    line = next(layer for layer in picture.to_dict()["layer"] if layer.get("name") == "lines")
    dash = line["encoding"]["strokeDash"]
    assert dict(zip(dash["scale"]["domain"], dash["scale"]["range"], strict=True)) == styles
    assert dash["legend"] is not None
    svg = svg_of(picture, tmp_path)
    assert svg.count('aria-roledescription="line mark"') == len(styles)
    assert svg.count('aria-roledescription="area mark"') == len(styles) and SHUFFLED in svg


def test_without_shuffling_legends_and_styles_are_as_ever():
    line = next(layer for layer in chart(result()).to_dict()["layer"] if layer.get("name") == "lines")
    assert line["encoding"]["strokeDash"]["scale"] == {"domain": [GIVEN, INITIALIZED], "range": [[1, 0], [5, 3]]}


def test_another_transform_and_rectified_noise_are_called_what_they_are():
    settings = {"match": "per_image", "transform": "LocalTranslation()", "noise": "rectified"}
    about = {**run().results["sensitivity"].provenance, "settings": settings}
    text = json.dumps(chart(result(provenance=about), y=["R", "D", "G"]).to_dict())
    assert "R = 1: as sensitive to a local translation as to rectified noise" in text
    assert "smooth deformation" not in text and "same size" not in text


def test_a_comparison_that_was_refused_draws_nothing_empty():
    frame = unmeasured(table(), {})
    frame[[name for name in frame if "_init" in name and "status" not in name]] = np.nan
    assert set(rows_in(chart(result(frame)))["weights"]) == {GIVEN}


def test_each_panel_says_what_it_shows_and_how_wide_the_bands_are():
    spec = chart(result(), y=["R", "D", "G"]).to_dict()
    titles = [panel["title"] for panel in spec["vconcat"]]
    assert [title["text"][0] for title in titles] == ["R", "D", "G"]
    assert all("95 %" in title["subtitle"][0] for title in titles)


def test_bands_cut_at_the_axis_are_counted_in_the_subtitle():
    frame = table(init=False)
    frame.loc[4, "R_se"] = frame.loc[4, "R"]
    subtitle = chart(result(frame)).to_dict()["title"]["subtitle"]
    assert subtitle[1] == "1 interval reaches below the axis (1 down to zero); cut there."


def test_noise_of_a_fixed_size_is_not_called_noise_of_the_same_size():
    about = {**run().results["sensitivity"].provenance, "settings": {"match": "fixed"}}
    text = json.dumps(chart(result(provenance=about)).to_dict())
    assert "noise of a fixed size" in text and "same size" not in text


def test_a_legend_is_there_only_where_there_is_a_choice_and_only_where_wanted():
    def bound(picture):
        return sorted(p["name"] for p in picture.to_dict()["params"] if p.get("bind") == "legend")

    assert bound(chart(result())) == ["kind", "weights"]
    assert bound(chart([result(), result(name="other")])) == ["kind", "run", "weights"]
    assert bound(chart(result(table([("f", "output")], init=False)))) == []
    assert bound(chart(result(), legend=False)) == []


def test_networks_of_different_depth_are_laid_over_one_another():
    drawn = rows_in(chart([result(), result(table(RESNET20), name="deep")]))
    assert drawn.groupby("run")["x"].agg(["min", "max"]).to_numpy().tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_pictures_are_written_without_a_browser(tmp_path, kind):
    path = tmp_path / f"depth.{kind}"
    chart(result(table(RESNET50)), y=["R", "D"]).save(path)
    start = {"png": b"\x89PNG", "svg": b"<svg", "pdf": b"%PDF"}[kind]
    assert path.read_bytes().startswith(start) and path.stat().st_size > 10_000


@pytest.mark.parametrize(
    "frame",
    [
        table().drop(columns=["kind", "shape", "n", "status", "draws", "features", "R_se", "status_init"]),
        table()[["layer", "R"]],
        table([("f", "output")]),
        unmeasured(table(), dict.fromkeys(range(len(SMALL)), "constant output")),
        table().iloc[:0],
        table().assign(**dict.fromkeys(["D", "R"], 0.0)),
    ],
    ids=["few columns", "two columns", "one op", "nothing measured", "no row", "zeros"],
)
def test_a_bare_result_is_drawn_with_what_it_has(tmp_path, frame):
    picture = chart(Result("sensitivity", "?", frame), y=["R", "D", "G"])
    assert "<svg" in svg_of(picture, tmp_path)
