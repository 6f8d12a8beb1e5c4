"""Pictures of where weights end in the intervals of their own paths."""

import numpy as np
import pandas as pd
import pytest

from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result

LAYERS = ["conv1", "conv2", "fc"]


def followed(*, epochs=True, points=5, kept=True, failed=()) -> Result:
    """What the monitor of trajectories finds, made from a formula; of each layer two weights are kept."""
    rows = []
    for place, layer in enumerate(LAYERS):
        row = {"layer": layer, "kind": "Conv2d", "channels": "1→6", "n": 150, "moved": 0.9, "points": points}
        numbers = {"near_end": 0.7 - 0.3 * place, "center_distance": 0.8, "fuzziness": 0.3}
        numbers |= {f"{name}_null": 0.36 for name in tuple(numbers)}
        row |= {f"{name}{end}": value * (0.05 if end else 1) for name, value in numbers.items() for end in ("", "_se")}
        rows.append(row | {"status": "measured"})
    table = pd.DataFrame(rows)
    numbers = [name for name in table if name.startswith(("near_end", "center_distance", "fuzziness"))]
    table.loc[table["layer"].isin(failed), [*numbers, "moved"]] = np.nan
    table.loc[table["layer"].isin(failed), "status"] = "no weight has moved"
    steps = np.arange(points)
    arrays = {
        "path": np.array([np.sin(steps + i) for i in range(6)]),
        "path_layer": np.repeat(np.arange(3), 2),
        "path_weight": np.arange(6) * 7,
        "step": steps * 10,
        "epoch": steps.astype(float) if epochs else np.full(points, np.nan),
    }
    about = {"specimen": {"name": "net"}}
    return Result("monitor_trajectories", "Do weights end?", table, arrays if kept else {}, provenance=about)


def rows_of(picture, field):
    return next(rows for rows in picture.to_dict()["datasets"].values() if rows and field in rows[0])


def test_every_layer_has_its_share_with_that_of_random_walks():
    rows = rows_of(chart(followed()), "null")
    assert [row["layer"] for row in rows] == LAYERS and rows[0]["value"] == 0.7 and rows[0]["null"] == 0.36
    assert rows[0]["low"] == pytest.approx(0.7 - 1.96 * 0.035)
    assert [row["layer"] for row in rows_of(chart(followed(failed=["conv2"])), "null")] == ["conv1", "fc"]


@pytest.mark.parametrize("name", ["near_end", "center_distance", "fuzziness"])
def test_each_number_can_be_drawn(name, tmp_path):
    picture = chart([followed(), followed()], labels=["a", "b"], y=name)
    assert {row["run"] for row in rows_of(picture, "null")} == {"a", "b"}
    picture.save(tmp_path / "one.svg")


def test_the_paths_of_a_few_weights_are_drawn_with_their_intervals():
    result = followed()
    picture = chart(result, y="paths:conv2").to_dict()
    lines, bars = (picture["datasets"][layer["data"]["name"]] for layer in picture["layer"][:2])
    assert [row["weight"] for row in bars] == ["weight 14", "weight 21"]
    path = result["path"][2]
    assert [row["value"] for row in lines[:5]] == list(path) and [row["x"] for row in lines[:5]] == [0, 1, 2, 3, 4]
    assert (bars[0]["low"], bars[0]["high"], bars[0]["value"]) == (path.min(), path.max(), path[-1])
    assert all(row["x"] > 4 for row in bars)
    assert picture["title"]["text"] == "Paths of weights: conv2"


def test_without_epochs_steps_stand_along_the_axis_and_every_layer_has_a_panel(tmp_path):
    picture = chart(followed(epochs=False), y=["near_end", "paths"])
    assert len(picture.to_dict()["vconcat"]) == 4
    assert max(row["x"] for row in rows_of(chart(followed(epochs=False), y="paths:fc"), "value")) == 40
    picture.save(tmp_path / "all.svg")
    chart(followed(kept=False), y="paths").save(tmp_path / "none.svg")
    chart(followed(points=1), y="paths").save(tmp_path / "one.svg")


def test_a_weight_that_was_not_finite_has_a_gap_and_no_interval(tmp_path):
    result = followed()
    paths = result["path"].copy()
    paths[2, 1] = np.nan
    picture = chart(Result(result.probe, "How?", result.table, {**result.arrays, "path": paths}), y="paths:conv2")
    lines, bars = (picture.to_dict()["datasets"][layer["data"]["name"]] for layer in picture.to_dict()["layer"][:2])
    assert lines[1]["value"] is None and [row["weight"] for row in bars] == ["weight 21"]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ArgumentError, match=r"y='paths:conv9' cannot be drawn. Did you mean 'paths:conv"):
        chart(followed(), y="paths:conv9")
