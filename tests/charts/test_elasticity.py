"""The matrix of similarities, by class and in blocks, and the shares of the layers, as drawn from a result alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
from charts.elasticities import elasticity

from flexure.charts import chart
from flexure.charts.elasticity import main_matrix
from flexure.errors import ArgumentError
from flexure.results import Result


def svg_of(picture, folder) -> str:
    picture.save(folder / "chart.svg")
    return (folder / "chart.svg").read_text(encoding="utf-8")


def cells_of(picture) -> np.ndarray:
    """The values of the matrix as the chart carries them."""
    data = picture.to_dict()["datasets"].values()
    return next(np.array([row["value"] for row in rows], float) for rows in data if rows and "stepped" in rows[0])


def test_rows_and_columns_of_a_class_stand_together():
    result = elasticity(12, classes=3)
    order = np.argsort(result["labels"], kind="stable")
    np.testing.assert_allclose(cells_of(chart(result, y="cosine")), result["cosine"][np.ix_(order, order)], rtol=1e-2)


def test_the_similarity_that_is_drawn_is_the_one_that_is_asked_for():
    result = elasticity(6, classes=None)
    for name in ("cosine", "relative_signed", "relative", "kernel"):
        np.testing.assert_allclose(cells_of(chart(result, y=name)), result[name], rtol=1e-2)


@pytest.mark.parametrize("n", [101, 250, 1003])
def test_many_images_are_drawn_in_blocks_of_one_class_each_the_mean_over_different_images(n):
    result = elasticity(n, classes=3)
    cells = cells_of(chart(result, y="cosine"))
    assert cells.shape[0] == cells.shape[1] <= 100
    first = sum(result["labels"] == 0) * 100 // n
    off = ~np.eye(first, dtype=bool)
    np.testing.assert_allclose(cells[:first, :first][off], 0.75)
    np.testing.assert_allclose(cells[:first, first:], -0.25)
    sizes = np.diff([sum(result["labels"] == 0) * i // first for i in range(first + 1)])
    np.testing.assert_allclose(np.diagonal(cells)[:first], np.where(sizes == 1, 1.0, 0.75))


def test_blocks_agree_with_plain_means():
    result = elasticity(230, classes=None)
    cells = cells_of(chart(result, y="kernel"))
    starts = [230 * i // 100 for i in range(101)]
    for i, j in [(0, 1), (0, 99), (57, 3), (99, 98)]:
        block = result["kernel"][starts[i] : starts[i + 1], starts[j] : starts[j + 1]]
        assert cells[i, j] == pytest.approx(block.mean(), rel=6e-3)
    inside = result["kernel"][starts[4] : starts[5], starts[4] : starts[5]]
    different = ~np.eye(len(inside), dtype=bool)
    assert len(inside) > 1
    assert cells[4, 4] == pytest.approx(inside[different].mean(), rel=6e-3)


def test_a_thousand_images_make_a_small_picture():
    assert len(json.dumps(chart(elasticity(1000)).to_dict())) < 120_000


def test_colors_of_signed_similarities_part_at_zero_and_those_of_the_size_begin_there():
    for name, low in (("cosine", -1.0), ("relative_signed", -1.0), ("kernel", -1.0), ("relative", 0.0)):
        ends = json.loads(chart(elasticity(), y=name).to_json())["layer"][0]["encoding"]["color"]["scale"]["domain"]
        assert ends[0] == pytest.approx(low * ends[-1]) and ends[-1] > 0
        assert low == 0 or 0 in ends


def test_values_beyond_the_colors_are_counted():
    result = elasticity(40, classes=None)
    wild = result["relative_signed"].copy()
    wild[3, 7] = 1e6
    told = Result("elasticity", "", result.table, dict(result.arrays) | {"relative_signed": wild})
    remarks = " ".join(chart(told, y="relative_signed").to_dict()["title"]["subtitle"])
    assert "of 1,600 go further" in remarks


def test_undefined_similarities_are_blank_and_said_to_be(tmp_path):
    result = elasticity(8, classes=2)
    cosine = result["cosine"].copy()
    cosine[2] = np.nan
    holed = Result("elasticity", "", result.table, dict(result.arrays) | {"cosine": cosine})
    assert chart(holed, y="cosine").to_dict()["title"]["subtitle"][-1] == "Blank: not defined."
    svg = svg_of(chart(holed, y="cosine"), tmp_path)
    cells = svg.split("mark-rect")[1].split("</g>")[0]
    assert cells.count("<path") == 8 * 7


def test_classes_are_named_and_other_images_keep_their_order(tmp_path):
    svg = svg_of(chart(elasticity(12, others=5), y="cosine"), tmp_path)
    assert ">class of the image stepped on<" in svg and ">image watched<" in svg
    assert "5 others, in their own order" in svg
    assert cells_of(chart(elasticity(12, others=5), y="cosine")).shape == (12, 5)


def test_every_layer_has_a_bar_with_its_share_and_its_interval(tmp_path):
    result = elasticity(layers=4)
    svg = svg_of(chart(result, y="share"), tmp_path)
    for row in result.table.iloc[:-1].itertuples():
        numbers = f"weights: {row.parameters}; share ± se: {row.share:.3f} ± 0.02; images: 12"
        assert f"layer: {row.layer}; share: {row.share:.0%}; run: net; kind: Linear; {numbers}" in svg
    assert "layer: output" not in svg and svg.count('aria-roledescription="bar"') == 4


def test_several_results_have_bars_side_by_side_and_a_matrix_each_in_the_same_colors(tmp_path):
    several = [elasticity(name="one"), elasticity(9, name="other")]
    picture = chart(several, y=["cosine", "share"])
    parts = picture.to_dict()["vconcat"]
    assert [part["title"]["text"] for part in parts[:2]] == [
        "How alike two images pull at the weights: one",
        "How alike two images pull at the weights: other",
    ]
    domains = [part["layer"][0]["encoding"]["color"]["scale"]["domain"] for part in parts[:2]]
    assert domains[0] == domains[1]
    svg = svg_of(picture, tmp_path)
    assert svg.count('aria-roledescription="bar"') == 6 and ">other<" in svg


def test_by_default_there_is_what_the_result_holds():
    both = chart(elasticity()).to_dict()["vconcat"]
    assert [part["title"]["text"] for part in both] == [
        "How alike two images pull at the weights",
        "Which layers move the prediction",
    ]
    alone = chart(elasticity(layers=0)).to_dict()
    assert alone["title"]["text"] == "How alike two images pull at the weights"
    result = elasticity()
    kept = Result("elasticity", "", result.table, {"kernel": result["kernel"].astype(np.float32)})
    assert chart(kept).to_dict()["vconcat"][0]["title"]["text"] == "The kernel of every two images"
    assert main_matrix(Result("elasticity", "", result.table)) is None


def test_a_cosine_that_no_step_defines_gives_way_to_the_relative_similarity():
    result = elasticity()
    arrays = dict(result.arrays) | {"cosine": np.full((12, 12), np.nan)}
    assert main_matrix(Result("elasticity", "", result.table, arrays)) == "relative_signed"


def test_a_matrix_that_is_not_there_is_refused_with_those_that_are():
    result = elasticity()
    bare = Result("elasticity", "", result.table, {"kernel": result["kernel"]})
    with pytest.raises(ArgumentError, match=r"network holds no matrix 'cosine'; it has: kernel"):
        chart(bare, y="cosine")


def test_an_unknown_quantity_is_refused():
    with pytest.raises(ArgumentError, match=r"y='cosin' cannot be drawn.*cosine"):
        chart(elasticity(), y="cosin")


def test_where_no_class_is_known_the_images_stand_in_the_order_of_their_clusters():
    result = elasticity(12, classes=None)
    apart = replace(result, arrays={**result.arrays, "cluster": np.arange(12) % 2})
    drawn = chart(apart, y="cosine").to_dict()
    assert "ordered by cluster" in drawn["title"]["subtitle"][1]
    assert drawn["layer"][0]["encoding"]["y"]["axis"]["title"] == "cluster of the image stepped on"
    known = elasticity(12)
    told = replace(known, arrays={**known.arrays, "cluster": np.arange(12) % 2})
    assert "ordered by class" in chart(told, y="cosine").to_dict()["title"]["subtitle"][1]


def test_other_images_that_are_watched_stand_in_the_order_of_their_own_classes():
    result = elasticity(12, others=5)
    told = replace(result, arrays={**result.arrays, "point_labels": np.array([1, 0, 1, 0, 1])})
    drawn = chart(told, y="cosine").to_dict()
    assert "(5 others, by class)" in drawn["title"]["subtitle"][1]
    assert drawn["layer"][0]["encoding"]["x"]["axis"]["title"] == "class of the image watched"
