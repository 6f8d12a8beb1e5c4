"""The map of classes: a cell for each pair, the same colors for the same values, values written where there is room."""

import numpy as np
import pytest
from charts.elasticities import elasticity

from flexure.analysis.class_sensitivity import class_sensitivity
from flexure.charts import chart
from flexure.errors import ArgumentError


def found(classes=3, similarity="relative_signed", n=12):
    return class_sensitivity(elasticity(n, classes=classes), similarity=similarity)


def rows_of(picture):
    return next(rows for rows in picture.to_dict()["datasets"].values() if "stepped" in rows[0])


def test_every_pair_of_classes_has_a_cell_with_its_value_and_its_error():
    result = found()
    rows = rows_of(chart(result))
    assert [(row["stepped"], row["watched"]) for row in rows] == [(str(i), str(j)) for i in range(3) for j in range(3)]
    assert [row["value"] for row in rows] == pytest.approx(result["signed_map"].ravel().tolist())
    assert [row["se"] for row in rows] == pytest.approx(result["signed_map_se"].ravel().tolist())
    assert rows[1]["written"].startswith("−0.") and rows[0]["written"].startswith("0.")


def test_signed_means_part_at_zero_and_sizes_begin_there():
    signed, sizes = (
        chart(found(), y=name).to_dict()["layer"][0]["encoding"]["color"] for name in ("signed", "sensitivity")
    )
    assert signed["scale"]["domain"][0] == -signed["scale"]["domain"][-1] and sizes["scale"]["domain"][0] == 0


def test_the_heading_says_what_the_values_are():
    title = chart(found(similarity="cosine")).to_dict()["title"]
    assert title["text"] == "How alike two classes pull at the weights"
    title = chart(found()).to_dict()["title"]
    assert title["text"] == "How far training on one class moves another"
    assert title["subtitle"][0].endswith("as a share of how far it moves its own prediction; below 0: the other way.")


def test_many_classes_are_not_written_into_their_cells():
    assert len(chart(found(13, n=40)).to_dict()["layer"]) == 1 and len(chart(found(12, n=40)).to_dict()["layer"]) == 2


def test_what_is_not_known_is_blank_and_said():
    picture = chart(found(6, n=7))  # five classes have a single image
    assert any(row["value"] is None for row in rows_of(picture))
    assert "Blank: no pair of different images." in picture.to_dict()["title"]["subtitle"][1]


def test_several_results_have_a_panel_each_with_the_same_colors(tmp_path):
    picture = chart([found(), found(2)], labels=["a", "b"], y=["signed", "sensitivity"])
    panels = picture.to_dict()["vconcat"]
    domains = [panel["layer"][0]["encoding"]["color"]["scale"]["domain"] for panel in panels]
    assert len(panels) == 4 and domains[0] == domains[1] and domains[2] == domains[3]
    picture.save(tmp_path / "all.svg")


def test_other_quantities_are_refused():
    with pytest.raises(ArgumentError, match="y='ratio' cannot be drawn"):
        chart(found(), y="ratio")
    assert np.isfinite(found()["sensitivity_map"]).all()
