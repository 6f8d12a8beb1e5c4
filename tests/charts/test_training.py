"""Curves over epochs: every epoch's numbers as they are, test solid and training dashed."""

import json

import pytest
from charts.histories import history

from flexure import chart
from flexure.charts.training import TEST, TRAINING, thinned
from flexure.errors import ArgumentError


def values(picture) -> list[dict]:
    return [row for data in picture.to_dict()["datasets"].values() for row in data]


def test_it_draws_the_numbers_of_the_table():
    result = history()
    rows = values(chart(result, y="accuracy"))
    tested = [row for row in rows if row["images"] == TEST]
    assert [row["x"] for row in tested] == list(range(1, 13))
    assert [row["accuracy"] for row in tested] == result["test_accuracy"].tolist()
    assert [row["loss"] for row in rows if row["images"] == TRAINING] == result["loss"].tolist()


def test_by_default_accuracy_stands_above_loss():
    drawn = chart(history()).to_dict()
    assert [panel["title"]["text"] for panel in drawn["vconcat"]] == ["Accuracy over epochs", "Loss over epochs"]


def test_several_trainings_share_a_picture_with_a_legend_that_answers():
    drawn = chart([history("a"), history("b", epochs=5)], y="accuracy").to_dict()
    assert {param["name"] for param in drawn["params"]} == {"by_run", "by_images"}
    assert all(param["views"] for param in drawn["params"])
    domain = drawn["layer"][0]["encoding"]["x"]["scale"]["domain"]
    assert domain == [1, 12]


def test_without_tests_there_is_one_solid_curve():
    drawn = chart(history(tested=False), y="accuracy").to_dict()
    assert {row["images"] for row in values(chart(history(tested=False), y="accuracy"))} == {TRAINING}
    assert drawn["layer"][1]["encoding"]["strokeDash"]["scale"]["range"] == [[1, 0]]


def test_accuracy_is_linear_and_ends_at_one_and_loss_is_logarithmic():
    accuracy, loss = chart(history(), y=["accuracy", "loss"]).to_dict()["vconcat"]
    assert accuracy["layer"][1]["encoding"]["y"]["scale"]["domain"][1] == 1.0
    assert loss["layer"][1]["encoding"]["y"]["scale"]["type"] == "log"


def test_a_loss_of_zero_is_told():
    result = history()
    result.table.loc[11, ["loss", "test_loss"]] = 0.0
    told = chart(result, y="loss").to_dict()["title"]["subtitle"]
    assert "2 values of zero: not on a log axis." in told


def test_a_long_training_is_thinned_to_what_can_be_seen_and_says_so():
    picture = chart(history(epochs=5_000), y="loss")
    epochs = sorted({row["x"] for row in values(picture)})
    assert (epochs[0], epochs[-1], len(epochs)) == (1, 5_000, 400)
    assert "At most 400 epochs are drawn." in picture.to_dict()["title"]["subtitle"]
    assert thinned(1) == [0]


def test_tests_between_many_epochs_are_all_drawn_while_they_are_few():
    result = history(epochs=5_000)
    result.table.loc[result["epoch"] % 700 != 0, "test_n"] = 0
    tested = [row["x"] for row in values(chart(result, y="loss")) if row["images"] == TEST]
    assert tested == [700, 1400, 2100, 2800, 3500, 4200, 4900]


def test_a_single_test_is_a_point_with_a_bar():
    result = history()
    result.table.loc[result["epoch"] < 12, "test_n"] = 0
    layers = chart(result, y="accuracy").to_dict()["layer"]
    lone = [layer["mark"]["type"] for layer in layers if "alone" in str(layer.get("transform"))]
    assert lone == ["rule", "point"]
    assert not any("alone" in str(layer.get("transform")) for layer in chart(history(), y="loss").to_dict()["layer"])


def test_step_sizes_can_be_drawn_and_other_things_cannot():
    assert {row["images"] for row in values(chart(history(), y="lr"))} == {TRAINING}
    with pytest.raises(ArgumentError, match=r"y='los' cannot be drawn\. Did you mean 'loss'"):
        chart(history(), y="los")


@pytest.mark.parametrize("count", [1, 3, 9])
def test_it_can_be_saved(tmp_path, count):
    chart([history(f"net {i}") for i in range(count)]).save(tmp_path / "c.svg")
    text = (tmp_path / "c.svg").read_text()
    assert "Accuracy over epochs" in text
    assert json.dumps("NaN") not in text


def test_one_epoch_is_a_picture_too(tmp_path):
    chart(history(epochs=1, best=1)).save(tmp_path / "c.svg")
    assert "epoch" in (tmp_path / "c.svg").read_text()
