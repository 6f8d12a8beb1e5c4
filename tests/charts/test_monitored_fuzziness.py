"""Curves of fuzziness while a network learnt, and layers of independent weights beside them."""

import json

import numpy as np
import pandas as pd
import pytest

from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result


def watched(layers=("conv1", "conv2"), *, epochs=True, intervals=("init", "minmax"), failed=()) -> Result:
    """What a monitor of fuzziness gathers, made from a formula."""
    rows = []
    for step in (0, 10, 20, 30):
        for place, layer in enumerate(layers):
            for interval in intervals:
                value = 0.72 - 0.01 * step * (place + 1) * (1 if interval == "init" else -0.1)
                row = {"step": step, "epoch": step / 10 if epochs else np.nan, "layer": layer, "interval": interval}
                row |= {"index": "de_luca_termini", "n": 150, "status": "measured"}
                for name, own in (("fuzziness", value), ("center_distance", 1 - value)):
                    row |= {name: own, f"{name}_se": 0.01}
                    for law, shift in (("uniform", -0.1), ("gaussian", 0.0), ("laplace", 0.1)):
                        row |= {f"{name}_{law}_low": own + shift - 0.02, f"{name}_{law}_high": own + shift + 0.02}
                if layer in failed:
                    row |= {key: np.nan for key in row if key.startswith(("fuzziness", "center"))}
                    row["status"] = "weights are not finite"
                rows.append(row)
    return Result("monitor_fuzziness", "How undecided?", pd.DataFrame(rows), provenance={"specimen": {"name": "net"}})


def rows_of(picture, field):
    return next(rows for rows in picture.to_dict()["datasets"].values() if rows and field in rows[0])


def test_every_layer_has_a_curve_of_the_first_interval():
    rows = rows_of(chart(watched()), "value")
    assert [row["value"] for row in rows if row["layer"] == "conv1"] == pytest.approx([0.72, 0.62, 0.52, 0.42])
    assert sorted({row["x"] for row in rows}) == [0, 1, 2, 3] and len(rows) == 8
    title = chart(watched()).to_dict()["title"]
    assert title["text"] == "Fuzziness of each layer, while it learns"
    assert title["subtitle"][0].startswith("Interval init, index de luca termini. 1: all weights undecided")


def test_one_layer_stands_beside_layers_of_independent_weights():
    picture = chart(watched(epochs=False), y="fuzziness:conv2")
    assert json.dumps(picture.to_dict()).count("Fuzziness of conv2, while it learns") == 1
    bands = rows_of(picture, "law")
    assert {row["law"] for row in bands} == {"uniform weights", "Gaussian weights", "Laplace weights"}
    assert [row["low"] for row in bands if row["law"] == "Gaussian weights"] == pytest.approx([0.7, 0.5, 0.3, 0.1])
    assert {row["layer"] for row in rows_of(picture, "value")} == {"conv2"}
    assert sorted({row["x"] for row in rows_of(picture, "value")}) == [0, 10, 20, 30]


def test_many_layers_are_cut_and_told_and_several_results_have_panels(tmp_path):
    many = watched([f"conv{i}" for i in range(9)])
    assert "The first 7 of 9 layers." in chart(many).to_dict()["title"]["subtitle"][1]
    picture = chart([many, watched()], labels=["a", "b"], y=["fuzziness", "center_distance:conv1"])
    assert len(picture.to_dict()["vconcat"]) == 4
    picture.save(tmp_path / "all.svg")
    chart(watched(failed=["conv1", "conv2"])).save(tmp_path / "none.svg")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ArgumentError, match=r"chart of monitor_fuzziness: y='fuzziness:conv3' cannot be drawn"):
        chart(watched(), y="fuzziness:conv3")
