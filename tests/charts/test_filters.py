"""Pictures of filters: what they carry, what they leave out, and what they say."""

import json

import gauge
import numpy as np
import pandas as pd
import pytest
from torch import nn

import flexure
from flexure.charts import chart
from flexure.charts.records import GIVEN, INITIALIZED
from flexure.errors import ArgumentError


@pytest.fixture(scope="module")
def found():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 5), nn.Conv2d(8, 4, 3))
    return flexure.filters(gauge.seeded(lambda: net), initialized=2)


def data_of(picture, key):
    """The data of a chart that have this column, as a table."""
    sets = picture.to_dict()["datasets"].values()
    return pd.concat([pd.DataFrame(rows) for rows in sets if rows and key in rows[0]])


def points_in(picture, folder):
    picture.save(folder / "chart.svg")
    svg = (folder / "chart.svg").read_text(encoding="utf-8")
    return svg.count('role="graphics-symbol" aria-roledescription="point"')


def test_the_chart_over_depth_carries_the_table_but_for_one_pixel_filters(found, tmp_path):
    picture = chart(found)
    rows = data_of(picture, "pooling_index")
    table = found.table[found.table["kernel"] != "1×1"]
    for suffix, weights in (("", GIVEN), ("_init", INITIALIZED)):
        part = rows[rows["weights"] == weights]
        assert part["layer"].tolist() == ["0", "2", "3"] and part["x"].tolist() == [0, 1, 2]
        for name in ("pooling_index", "frequency"):
            np.testing.assert_array_equal(part[name], table[f"{name}{suffix}"])
            np.testing.assert_array_equal(part[f"{name}_se"], table[f"{name}{suffix}_se"])
    null = data_of(picture, "null_low")
    np.testing.assert_array_equal(null["null_high"].dropna().unique(), table["pooling_index_null_high"].unique())
    assert points_in(picture, tmp_path) == 6


def test_the_spectra_carry_every_group_of_every_layer_relative_to_the_layer_s_mean(found, tmp_path):
    picture = chart(found, y="power")
    drawn = [pd.DataFrame(rows) for rows in picture.to_dict()["datasets"].values() if "eigenvalue" in rows[0]]
    modes = found["degeneracy"][[0, 2, 3]]
    assert len(drawn) == 2
    for name in ("share", "share_init"):
        expected = found[name][[0, 2, 3]] * np.nansum(modes, 1, keepdims=True) / modes
        np.testing.assert_allclose(np.nansum(expected * modes, 1) / np.nansum(modes, 1), 1)
        values = expected[np.isfinite(expected)]
        assert any(np.array_equal(frame["value"], values) for frame in drawn), name
    assert all(frame["layer"].unique().tolist() == ["0", "2", "3"] for frame in drawn)
    assert points_in(picture, tmp_path) == 26


def test_a_spectrum_without_initialized_networks_has_no_gray_lines():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    subtitle = chart(flexure.filters(net, initialized=0), y="power").to_dict()["title"]["subtitle"]
    assert "Gray" not in " ".join(subtitle)
    assert "Gray" in " ".join(chart(flexure.filters(net), y="power").to_dict()["title"]["subtitle"])


def test_several_results_are_overlaid_and_have_a_spectrum_each(found, tmp_path):
    other = flexure.filters(gauge.seeded(gauge.ResidualNet))
    picture = chart([found, other], labels=["a", "b"], y=["pooling_index", "frequency", "power"])
    spec = picture.to_dict()
    titles = [panel["title"]["text"] for panel in spec["vconcat"]]
    assert titles[2:] == [f"Power of each layer's filters at each frequency: {name}" for name in "ab"]
    rows = data_of(picture, "pooling_index")
    assert rows.groupby("run")["x"].agg(["min", "max"]).to_numpy().tolist() == [[0, 1], [0, 1]]
    text = json.dumps(spec)
    assert "share of the network's convolutions passed" in text and '"0": "first"' in text and "first op" not in text
    assert sorted(p["name"] for p in spec["params"] if p.get("bind") == "legend") == ["network", "origin"]
    picture.save(tmp_path / "filters.pdf")
    assert (tmp_path / "filters.pdf").read_bytes().startswith(b"%PDF")


def test_each_panel_says_how_wide_its_bands_are(found):
    spec = chart(found, y=["pooling_index", "frequency", "power"]).to_dict()
    assert all("95 % intervals" in " ".join(panel["title"]["subtitle"]) for panel in spec["vconcat"])


@pytest.mark.parametrize("y", [None, "frequency", "power", ["pooling_index", "power"]])
@pytest.mark.parametrize(
    "net",
    [gauge.linear(), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3), nn.Conv2d(1, 1, 3)],
    ids=["no convolutions", "one pixel", "one layer", "one filter"],
)
@pytest.mark.parametrize("initialized", [0, 1])
def test_a_network_with_little_to_show_is_drawn_with_what_it_has(tmp_path, net, y, initialized):
    chart(flexure.filters(net, initialized=initialized), y=y).save(tmp_path / "chart.svg")
    assert (tmp_path / "chart.svg").stat().st_size > 1000


def test_the_values_lie_within_the_axis_also_where_errors_are_huge():
    found = flexure.filters(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 64, 3)), initialized=0)
    spec = chart(found).to_dict()
    low, high = next(
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in spec["layer"]
        if "pooling_index" in str(layer["encoding"])
    )
    values = found.table["pooling_index"]
    assert low < min(values.min(), 0) and max(values.max(), 0.1) < high
    assert high - low <= 2.2 * (max(values.max(), 0.1) - min(values.min(), 0))


@pytest.mark.parametrize("y", ["index", [], ["power", "R"]])
def test_an_unknown_quantity_is_refused_with_the_valid_ones(found, y):
    with pytest.raises(
        ArgumentError, match=r"chart of filters: y='.*' cannot be drawn.*frequency, pooling_index, power"
    ):
        chart(found, y=y)
