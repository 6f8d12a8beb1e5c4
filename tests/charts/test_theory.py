"""The picture of path counts: points with bars, dashed curves, axes that hold them, and words that say so."""

import numpy as np
import pandas as pd
import pytest

from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import MEASURED, Result


def theory(name="net", power=-1.0, layers=5, **changes):
    size = 2.0 ** np.arange(1, layers + 1)
    table = {"k": range(1, layers + 1), "layer": [f"relu{k}" for k in range(1, layers + 1)], "A": size}
    for quantity, exponent in (("D", power), ("G", 1.0), ("R", power - 1)):
        path = size**exponent
        table |= {quantity: path * 1.1, f"{quantity}_se": path * 0.1, f"{quantity}_path": path}
        table |= {f"{quantity}_log_ratio": np.log(1.1), f"{quantity}_log_ratio_se": 0.1}
    frame = pd.DataFrame(table | {"n": 500, "status": MEASURED} | changes)
    rows = [{"quantity": q, "slope": power, "slope_se": 0.05, "path_slope": power} for q in ("D", "G", "R")]
    return Result("path_theory", "?", frame, {}, {}, {"specimen": {"name": name}, "exponents": rows})


def panels(picture):
    return picture.to_dict()["vconcat"]


def test_a_panel_for_each_of_the_three_or_those_asked_for():
    assert [panel["title"]["text"][:1] for panel in panels(chart(theory()))] == ["D", "G", "R"]
    assert "vconcat" not in chart(theory(), y="D").to_dict()


def test_curves_points_and_bars_lie_over_the_effective_size_on_log_axes():
    layers = chart(theory(), y="D").to_dict()["layer"]
    assert [layer["mark"]["type"] for layer in layers] == ["line", "rule", "point"]
    assert [layer["encoding"]["y"]["field"] for layer in layers] == ["path", "low", "value"]
    assert all(layer["encoding"]["x"]["field"] == "A" for layer in layers)
    assert all(layer["encoding"][axis]["scale"]["type"] == "log" for layer in layers for axis in "xy")
    low, high = layers[0]["encoding"]["y"]["scale"]["domain"]
    assert low < 2.0**-5 and high > 0.5 * 1.1 * 1.19


def test_the_fitted_power_stands_beside_that_of_path_counts():
    words = " ".join(chart(theory(), y="D").to_dict()["title"]["subtitle"])
    assert "A to the power −1.00 ± 0.05 fitted, −1.00 for path counts." in words
    several = chart([theory("a"), theory("b", -2.0)], y="D").to_dict()["title"]["subtitle"]
    assert any(line.startswith("b: A to the power −2.00") for line in several)


def test_several_networks_have_a_color_each_and_one_legend():
    first, *rest = panels(chart([theory("a"), theory("b", -2.0)]))
    assert first["layer"][0]["encoding"]["color"]["legend"] is not None
    assert all(panel["layer"][0]["encoding"]["color"]["legend"] is None for panel in rest)
    assert chart(theory(), y="D").to_dict()["layer"][0]["encoding"]["color"]["legend"] is None


def test_layers_without_a_number_leave_gaps():
    missing = theory(D=[0.5, 0.2, 0.1, 0.0, np.nan], D_path=[0.5, 0.2, 0.1, 0.0, np.nan])
    spec = chart(missing, y="D").to_dict()
    rows = next(iter(spec["datasets"].values()))
    assert [row["value"] for row in rows] == [0.5, 0.2, 0.1, 0.0, None]
    assert any("zero" in line for line in spec["title"]["subtitle"])


def test_it_saves_as_a_picture(tmp_path):
    chart([theory("a"), theory("b", -2.0)]).save(tmp_path / "theory.svg")
    assert (tmp_path / "theory.svg").stat().st_size > 5000


@pytest.mark.parametrize("y", ["d", ["R", "Q"], []])
def test_an_unknown_quantity_is_refused_with_the_valid_ones(y):
    with pytest.raises(ArgumentError, match=r"chart of path_theory: y=.*cannot be drawn.*Valid: D, G, R"):
        chart(theory(), y=y)
