"""Similarity against distance: points of pairs, medians with their intervals."""

import numpy as np
import pytest
from charts.elasticities import elasticity

from flexure.analysis.distance import against_distance
from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result


def found(n=60, *, classes=3, **options) -> Result:
    x = np.random.default_rng(n).uniform(0, 1, n)
    return against_distance(elasticity(n, classes=classes), np.abs(x[:, None] - x), **options)


def data(picture, field):
    return next(rows for rows in picture.to_dict()["datasets"].values() if rows and field in rows[0])


def test_medians_stand_where_the_bins_are_with_intervals_of_their_errors():
    result = found(similarity="cosine")
    rows = data(chart(result), "se")
    assert [row["distance"] for row in rows] == pytest.approx(result["bin_distance"].tolist())
    assert [row["value"] for row in rows] == pytest.approx(result["bin_median"][0].tolist())
    widths = [row["high"] - row["low"] for row in rows]
    assert widths == pytest.approx((2 * 1.96 * result["bin_median_se"][0]).tolist(), rel=1e-3)


def test_points_are_pairs_of_the_matrix_and_the_picture_says_how_many():
    picture = chart(found(similarity="cosine"))
    rows = next(
        rows for rows in picture.to_dict()["datasets"].values() if rows and set(rows[0]) == {"run", "distance", "value"}
    )
    assert len(rows) == 1500 and {round(row["value"], 2) for row in rows} == {0.75, -0.25}
    words = picture.to_dict()["layer"]
    assert picture.to_dict()["title"]["subtitle"][0].startswith(
        "1,500 of 3,540 pairs of different images. Line: medians"
    )
    assert len(words) == 5  # with a line at 0, since values lie on both sides


def test_the_first_similarity_is_drawn_unasked_and_others_on_request(tmp_path):
    result = found()
    assert chart(result).to_dict()["title"]["text"] == "Another image’s move ÷ its own, against distance"
    picture = chart(result, y=["cosine", "relative_signed"])
    assert len(picture.to_dict()["vconcat"]) == 2
    picture.save(tmp_path / "both.svg")
    with pytest.raises(ArgumentError, match="chart of against_distance: y='kernel' cannot be drawn"):
        chart(result, y="kernel")


def test_two_networks_lie_over_one_another_with_as_many_points():
    picture = chart([found(similarity="cosine"), found(40, similarity="cosine")], labels=["a", "b"])
    rows = next(
        rows for rows in picture.to_dict()["datasets"].values() if rows and set(rows[0]) == {"run", "distance", "value"}
    )
    assert sum(row["run"] == "a" for row in rows) == sum(row["run"] == "b" for row in rows) == 750
