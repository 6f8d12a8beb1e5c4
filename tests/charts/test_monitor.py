"""Pictures of what was measured while a network learnt."""

import numpy as np
import pandas as pd
import pytest

from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result

LAYERS = ["conv1", "relu", "fc", "output"]


def monitored(steps=(0, 10, 20, 30), *, epochs=True, probe="sensitivity", failed=()) -> Result:
    """What a monitor gathers, made from a formula."""
    rows = []
    for step in steps:
        for depth, layer in enumerate(LAYERS):
            r = np.exp(-0.01 * step * depth)
            row = {
                "step": step,
                "epoch": step / 10 if epochs else np.nan,
                "layer": layer,
                "status": "measured",
                "n": 100,
            }
            numbers = {"R": r, "D": 0.1 * r, "G": 0.1, "pooling_index": 0.01 * step}
            numbers |= {"ratio": 0.5 + 0.001 * step, "same_class": 0.01 * step - 0.1, "relative_mean": r}
            numbers |= {"share": 1 / len(LAYERS) if layer != "output" else 1.0}
            rows.append(row | {f"{k}{end}": v * (0.1 if end else 1) for k, v in numbers.items() for end in ("", "_se")})
    table = pd.DataFrame(rows)
    table.loc[table["step"].isin(failed), ["R", "R_se"]] = np.nan
    return Result(f"monitor_{probe}", "How?", table, provenance={"specimen": {"name": "net"}})


def rows_of(picture, field: str) -> list[dict]:
    return next(rows for rows in picture.to_dict()["datasets"].values() if rows and field in rows[0])


def test_the_curve_is_that_of_the_output():
    result = monitored()
    rows = rows_of(chart(result), "value")
    output = result.to_frame().query("layer == 'output'")
    assert [row["value"] for row in rows] == list(output["R"]) and [row["se"] for row in rows] == list(output["R_se"])
    assert [row["x"] for row in rows] == [0, 1, 2, 3]


def test_without_epochs_steps_stand_along_the_axis():
    picture = chart(monitored(epochs=False), y="G")
    assert [row["x"] for row in rows_of(picture, "value")] == [0, 10, 20, 30]
    assert picture.to_dict()["layer"][0]["encoding"]["x"]["axis"]["title"] == "step"


def test_steps_that_grow_fast_are_drawn_on_an_axis_that_does_too():
    x = chart(monitored((0, 1, 2, 4, 8, 16, 32, 64))).to_dict()["layer"][0]["encoding"]["x"]
    assert x["scale"]["type"] == "symlog" and x["axis"]["values"][-1] == 6.4
    assert "type" not in chart(monitored()).to_dict()["layer"][0]["encoding"]["x"]["scale"]


def test_the_map_has_a_cell_for_every_layer_and_step_that_was_measured():
    result = monitored(failed=[20])
    rows = rows_of(chart(result, y="layers"), "from")
    assert len(rows) == 3 * len(LAYERS)
    assert {(row["layer"], row["from"]) for row in rows} == {(name, i - 0.5) for i, name in enumerate(LAYERS)}
    domain = chart(result, y="layers").to_dict()["encoding"]["color"]["scale"]["domain"]
    assert domain[0] * domain[1] == pytest.approx(1)  # as far below R = 1 as above


def test_a_step_without_a_value_is_a_gap_with_its_reason():
    row = rows_of(chart(monitored(failed=[20])), "value")[2]
    assert row["value"] is None and row["step"] == 20


def test_filters_are_mapped_and_have_no_curve():
    picture = chart(monitored(probe="filters"))
    assert picture.to_dict()["title"]["text"] == "Pooling index of every convolution, while it learns"
    with pytest.raises(ArgumentError, match=r"chart of monitor_filters: y='R' cannot be drawn. Valid: layers"):
        chart(monitored(probe="filters"), y="R")


def test_the_ratio_of_classes_is_drawn_on_a_plain_axis_with_a_line_where_they_do_not_matter():
    picture = chart(monitored(probe="elasticity"))
    assert [row["value"] for row in rows_of(picture, "value")] == pytest.approx([0.5, 0.51, 0.52, 0.53])
    assert rows_of(picture, "level") == [{"level": 0.5}]
    assert "type" not in picture.to_dict()["layer"][1]["encoding"]["y"]["scale"]
    assert "Dashed: 0.5, where classes do not matter." in picture.to_dict()["title"]["subtitle"][0]
    below = chart(monitored(probe="elasticity"), y="same_class").to_dict()["layer"][3]["encoding"]["y"]
    assert "type" not in below["scale"]  # -0.1 at the first step: no logarithm


def test_shares_of_the_layers_are_mapped_without_the_output_whose_share_is_all():
    rows = rows_of(chart(monitored(probe="elasticity"), y="layers"), "from")
    assert {row["layer"] for row in rows} == set(LAYERS[:-1])


def test_many_steps_are_thinned_and_the_picture_says_so():
    result = monitored(range(0, 1000, 10))
    picture = chart(result, y="layers")
    assert len({row["step"] for row in rows_of(picture, "from")}) == 40
    assert "40 of the steps are drawn." in picture.to_dict()["title"]["subtitle"][0]


def test_several_trainings_lie_over_one_another_and_all_can_be_drawn(tmp_path):
    picture = chart([monitored(), monitored((0, 5, 40))], labels=["a", "b"], y=["R", "D", "layers"])
    assert {row["run"] for row in rows_of(picture, "run")} == {"a", "b"}
    assert len(picture.to_dict()["vconcat"]) == 4
    picture.save(tmp_path / "all.svg")
