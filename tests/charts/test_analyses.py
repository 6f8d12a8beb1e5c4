"""Pictures of patterns, impacts and spectra, as drawn from results alone."""

import numpy as np
import pandas as pd
import pytest

from flexure.analysis.impacts import impacts
from flexure.analysis.spectrum import spectrum
from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result

LABELS = np.repeat([0, 1, 2], 4)


def path(name="net") -> Result:
    """Impacts of three classes that part; of the third pair of moments there is no rate."""
    rng = np.random.default_rng(0)
    means = np.stack([np.eye(3) * scale + 1 for scale in (1.0, 1.5, 2.0, -1.0)])
    return impacts(means[:, LABELS] + rng.normal(0, 0.05, (1, 12, 3)), LABELS, [0, 1, 2, 3], specimen=name)


def patterns() -> Result:
    rows = [("relu1", "ReLU", 0.6, 0.02, "measured"), ("pool", "MaxPool2d", np.nan, np.nan, "picks one of several")]
    rows += [("relu2", "ReLU", 0.7, 0.03, "measured"), ("output", "output", 0.65, 0.02, "measured")]
    table = pd.DataFrame(rows, columns=["layer", "kind", "cosine_mean", "cosine_mean_se", "status"])
    for name in ("agreement_mean", "ratio", "active"):
        table[name], table[f"{name}_se"] = table["cosine_mean"], table["cosine_mean_se"]
    return Result("activation_patterns", "?", table.assign(units=10, n=50), provenance={"specimen": {"name": "net"}})


def rows_of(picture, *fields):
    return next(r for r in picture.to_dict()["datasets"].values() if r and all(name in r[0] for name in fields))


def test_patterns_have_a_point_for_every_op_that_has_them_with_its_interval():
    rows = rows_of(chart(patterns()), "layer")
    assert [row["layer"] for row in rows] == ["relu1", "relu2"]
    assert [row["high"] - row["low"] for row in rows] == pytest.approx([2 * 1.96 * 0.02, 2 * 1.96 * 0.03], rel=1e-3)


def test_the_phase_plot_is_the_path_of_alpha_and_beta_beside_their_diagonal():
    result = path()
    picture = chart(result, y="phase")
    rows = rows_of(picture, "alpha_low")
    assert [row["alpha"] for row in rows] == pytest.approx(result["alpha"][:2].tolist())  # the third has none
    x, y = (picture.to_dict()["layer"][1]["encoding"][side]["scale"]["domain"] for side in "xy")
    assert x == y


def test_gamma_is_drawn_over_time_at_the_middle_of_its_moments_with_a_line_at_zero(tmp_path):
    picture = chart(path(), y="gamma")
    assert [row["at"] for row in rows_of(picture, "at")] == [0.5, 1.5, 2.5]
    assert rows_of(picture, "zero") == [{"zero": 0}]
    both = chart([path("a"), path("b")], labels=["a", "b"])
    assert len(both.to_dict()["vconcat"]) == 2
    both.save(tmp_path / "both.svg")


def test_eigenvalues_are_drawn_where_a_log_axis_can_show_them_and_the_others_counted(tmp_path):
    picture = chart(spectrum(np.diag([4.0, 2.0, 0.0, -1.0])))
    assert [(row["rank"], row["value"]) for row in rows_of(picture, "rank")] == [(1, 1.0), (2, 0.5)]
    assert "2 eigenvalues of 0 or below are not drawn." in picture.to_dict()["title"]["subtitle"][0]
    picture.save(tmp_path / "one.svg")


@pytest.mark.parametrize(("result", "name"), [(patterns(), "D"), (path(), "delta"), (spectrum(np.eye(3)), "cosine")])
def test_other_quantities_are_refused(result, name):
    with pytest.raises(ArgumentError, match=f"chart of {result.probe}: y='{name}' cannot be drawn"):
        chart(result, y=name)
