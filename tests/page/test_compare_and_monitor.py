"""What the page says of many networks, and of one while it learns."""

from dataclasses import replace

import numpy as np
import pytest
from analysis.many import law, run
from charts.test_monitor import monitored
from page import reading

from flexure.analysis.compare import compare
from flexure.results import Result, Run


def words_of(tmp_path, *runs: Run) -> str:
    return reading.words_of(reading.page_of(*runs, to=tmp_path))


def of(result: Result, name: str = "all") -> Run:
    return Run(name, {}, {}, {result.probe: result})


def test_a_comparison_answers_with_correlation_and_exponent(tmp_path):
    found = compare(law(12, exponent=0.5, scatter=0.2))
    row = found.to_frame().query("quantity == 'R'").iloc[0]
    words = words_of(tmp_path, of(found))
    assert "12 networks of 4 families" in words
    assert f"{row['correlation_low']:.3f} to {row['correlation_high']:.3f}" in words
    assert f"{row['exponent_low']:.2f} to {row['exponent_high']:.2f}" in words
    assert "How they were compared" in words and "the one each network was trained at" in words


def test_every_network_of_a_comparison_is_listed_with_its_numbers(tmp_path):
    runs = law(7, exponent=0.5, scatter=0.2)
    words = words_of(tmp_path, of(compare(runs)))
    assert all(each.name in words for each in runs)
    assert "Test error against R = D / G" in words and "Not a cause." in words


def test_levels_have_a_column_and_a_picture_of_correlations(tmp_path):
    runs = [*law(8, exponent=0.5, scatter=0.2), *law(8, exponent=0.5, scatter=0.2, corruption=30, seed=1)]
    words = words_of(tmp_path, of(compare(runs)))
    assert "Correlation of test error with D, G, R" in words and "corruption level" in words


def test_a_comparison_without_a_fit_says_why(tmp_path):
    words = words_of(tmp_path, of(compare(law(2, exponent=0.5))))
    assert "2 networks; at least 3 are needed" in words
    words = words_of(tmp_path, of(compare([Run("bare", {}, {}, {})])))
    assert "Left out, no result of sensitivity: bare." in words


def test_two_comparisons_stand_side_by_side(tmp_path):
    runs = [of(compare(law(6, exponent=0.5, scatter=0.1, seed=i)), f"study {i}") for i in range(2)]
    words = words_of(tmp_path, *runs)
    assert "comparison" in words and "study 0." in words and "study 1." in words


def compared(name: str) -> Run:
    """A comparison in which everything bears this name."""
    runs = [run(name, i, {"R": 1.1**i, "D": 1.1**i, "G": 2.0 - 0.1 * i}, 0.1 * 1.05**i) for i in range(6)]
    return of(compare(runs), name)


def followed(name: str) -> Run:
    """A monitored training in which everything bears this name."""
    result = monitored()
    table = result.to_frame().replace({"layer": {"conv1": name}, "status": {"measured": name}})
    return of(Result(result.probe, name, table, provenance={"specimen": {"name": name}}), name)


@pytest.mark.parametrize("made", [compared, followed])
def test_names_are_text_and_nothing_else(tmp_path, made):
    plain, nasty = (reading.page_of(made(name), to=tmp_path) for name in ("net", reading.NASTY))
    assert reading.NASTY in reading.words_of(nasty)
    assert reading.elements_of(nasty) == reading.elements_of(plain)


def test_a_monitored_training_answers_with_its_start_and_end(tmp_path):
    words = words_of(tmp_path, of(monitored(), "net"))
    assert "R at the last step 0.407" in words and "at the first 1.00" in words
    assert "Measured at 4 steps. The smallest R is 0.407 at epoch 3, the largest 1.00 at epoch 0." in words
    assert "R of every op, while it learns" in words and "What it does not show" in words


def test_steps_that_failed_are_counted_and_explained(tmp_path):
    result = monitored(failed=[20])
    table = result.to_frame()
    table.loc[table["step"] == 20, "status"] = "SpecimenError: a cable is loose"
    words = words_of(tmp_path, of(Result(result.probe, "How?", table)))
    assert "1 of 4 steps have no R; the table says why." in words and "a cable is loose" in words
    table["R"] = np.nan
    words = words_of(tmp_path, of(Result(result.probe, "How?", table)))
    assert "R was measured at none of 4 steps; the table says why." in words


def test_five_trainings_make_a_table_and_three_maps(tmp_path):
    words = words_of(tmp_path, *[of(monitored(), f"net {i}") for i in range(5)])
    assert words.count("R of every op, while it learns") == 3 and "Maps of 2 further runs are left out here." in words


def test_a_monitor_without_a_panel_of_its_own_shows_its_table(tmp_path):
    words = words_of(tmp_path, of(monitored(probe="filters")))
    assert "pooling_index" in words


def test_what_bent_the_images_is_named_while_a_network_learns(tmp_path):
    one = monitored()
    moved = replace(one, provenance={**one.provenance, "settings": {"transform": "LocalTranslation()"}})
    assert "sensitivity to a smooth deformation" in words_of(tmp_path, of(one))
    words = words_of(tmp_path, of(moved))
    assert "sensitivity to a local translation" in words and "moved less by a local translation than by noise" in words
    assert "smooth" not in words


def test_elasticity_while_a_network_learns_is_answered_with_the_ratio_of_classes(tmp_path):
    words = words_of(tmp_path, of(monitored(probe="elasticity"), "net"))
    assert "within ÷ (within + between) at the last step 0.530" in words and "at the first 0.500" in words
    assert "Share of every layer in the kernel, while it learns" in words
    assert "At 0.5 classes do not matter" in words
