"""Pictures of fuzziness: what they carry over depth, over steps and as densities."""

import gauge
import numpy as np
import pandas as pd
import pytest
from torch import nn

import flexure
from flexure.charts import chart
from flexure.errors import ArgumentError


def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 1))


@pytest.fixture(scope="module")
def nets():
    return gauge.seeded(build), gauge.seeded(build, 1)


@pytest.fixture(scope="module")
def found(nets):
    return flexure.fuzziness(nets[1], before=nets[0], interval=["init", "minmax"])


def data_of(picture, key):
    """The data of a chart that have this column, as a table."""
    sets = picture.to_dict()["datasets"].values()
    return pd.concat([pd.DataFrame(rows) for rows in sets if rows and key in rows[0]]).drop_duplicates()


def test_the_chart_over_depth_has_a_panel_per_interval_with_values_before_and_after(found, tmp_path):
    picture = chart(found)
    titles = [panel["title"]["subtitle"][1] for panel in picture.to_dict()["vconcat"]]
    assert titles == [f"Interval: {name}, one per layer. Index: de_luca_termini." for name in ("init", "minmax")]
    rows = data_of(picture, "state")
    for state, name in (("network as given", "fuzziness"), ("before training", "fuzziness_before")):
        values = sorted(rows[rows["state"] == state]["value"])
        np.testing.assert_allclose(values, sorted(found[name]), rtol=1e-12)
    picture.save(tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").read_text().count('aria-roledescription="point"') == 12


def test_several_networks_lie_in_one_picture(nets, found):
    other = flexure.fuzziness(nn.Sequential(nn.Conv2d(1, 2, 5)))
    rows = data_of(chart([found, other], labels=["a", "b"]), "state")
    assert set(rows["run"]) == {"a", "b"} and rows[rows["run"] == "b"]["state"].unique().tolist() == [
        "network as given"
    ]


def test_a_series_is_drawn_over_steps_with_the_bands_of_each_layer(nets, tmp_path):
    series = flexure.fuzziness(nets[1], checkpoints={0: nets[0], 10: nets[1]})
    picture = chart(series)
    rows = data_of(picture, "step")
    assert sorted(set(rows["step"])) == [0, 10] and len(rows) == 6
    text = str(picture.to_dict())
    assert "fuzziness_uniform_low" in text and "Bands: 95 %" in text
    picture.save(tmp_path / "steps.svg")


def test_densities_have_a_small_panel_per_layer_that_adds_up_to_1(found):
    picture = chart(found, y="density").to_dict()
    assert [panel["title"]["text"] for panel in picture["concat"]] == ["0", "1", "2"]
    rows = data_of(chart(found, y="density"), "density")
    width = rows["high"] - rows["low"]
    totals = (rows["density"] * width).groupby(rows["state"]).sum()
    np.testing.assert_allclose(totals, 3, rtol=1e-6)


def test_distances_can_be_drawn_and_other_quantities_are_refused(found):
    assert "Mean distance of each layer" in str(chart(found, y="center_distance").to_dict())
    with pytest.raises(ArgumentError, match="density"):
        chart(found, y="densities")


def test_a_network_without_layers_has_an_empty_picture():
    empty = flexure.fuzziness(gauge.linear())
    for y in (None, "density"):
        assert not chart(empty, y=y).to_dict().get("datasets", {}).get("values")
