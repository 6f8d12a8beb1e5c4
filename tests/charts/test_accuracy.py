"""The picture of accuracy: every level has its place, and what was not measured has none."""

import json

import numpy as np
import pandas as pd
import pytest

import flexure
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result

LEVELS = (0.0, 0.01, 1.0, 100.0)


def result(levels=LEVELS, name="net", **changes):
    n = len(levels)
    error = np.linspace(0.1, 0.9, n)
    table = {
        "layer": ["output"] * n,
        "corruption": levels,
        "accuracy": 1 - error,
        "accuracy_se": [0.01] * n,
        "error": error,
        "error_se": [0.01] * n,
        "loss": 3 * error,
        "loss_se": [0.05] * n,
        "n": [500] * n,
        "status": [MEASURED] * n,
        "draws": [1] * n,
    }
    about = {"specimen": {"name": name}, "settings": {"draws": 1}}
    return Result("accuracy", "How often?", pd.DataFrame({**table, **changes}), provenance=about)


def written(chart):
    return json.loads(chart.to_json())


def records(spec):
    return next(iter(spec["datasets"].values()))


def test_the_levels_stand_on_a_log_axis_that_has_a_zero():
    layers = written(flexure.chart(result()))["layer"]
    scale, axis = (layers[0]["encoding"]["x"][part] for part in ("scale", "axis"))
    assert scale == {"type": "symlog", "constant": 0.01, "nice": False}
    assert axis["values"] == list(LEVELS)
    assert "datum.value == 0.01 ? '0.01'" in axis["labelExpr"]


def test_every_measured_number_is_in_the_picture_as_it_is():
    spec = written(flexure.chart([result(), result(name="other")], y=["error", "accuracy", "loss"]))
    rows = records(spec)
    assert [row["run"] for row in rows] == ["net"] * 4 + ["other"] * 4
    assert [row["error"] for row in rows[:4]] == np.linspace(0.1, 0.9, 4).tolist()
    assert [panel["title"]["text"] for panel in spec["vconcat"]] == ["Error", "Accuracy", "Loss"]


def test_what_was_not_measured_is_a_gap():
    rows = records(written(flexure.chart(result(error=[0.1, np.nan, np.inf, 0.4]))))
    assert [row["error"] for row in rows] == [0.1, None, None, 0.4]


def test_with_one_level_networks_stand_side_by_side():
    spec = written(flexure.chart([result((0.0,)), result((0.0,), "other")]))
    assert spec["layer"][0]["encoding"]["x"]["field"] == "run"
    assert not [layer for layer in spec["layer"] if layer["mark"]["type"] == "line"]


@pytest.mark.parametrize("y", ["eror", [], ["loss", "D"]])
def test_another_quantity_is_refused_with_those_there_are(y):
    with pytest.raises(
        ArgumentError, match=r"chart of accuracy: y=.* cannot be drawn\. .*Valid: accuracy, error, loss"
    ):
        flexure.chart(result(), y=y)


def test_it_is_drawn_without_a_browser(tmp_path):
    for name, one in (("many.svg", result()), ("one.svg", result((0.0,)))):
        flexure.chart(one).save(tmp_path / name)
        assert "<svg" in (tmp_path / name).read_text(encoding="utf-8")
