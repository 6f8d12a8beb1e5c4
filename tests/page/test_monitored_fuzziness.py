"""What the page says of fuzziness while a network learnt."""

import dataclasses

from charts.test_monitored_fuzziness import watched
from page import reading

from flexure.results import Result, Run


def of(result: Result, name: str = "net") -> Run:
    return Run(name, {}, {}, {result.probe: result})


def words_of(tmp_path, *runs: Run) -> str:
    return reading.words_of(reading.page_of(*runs, to=tmp_path))


def test_the_answer_is_the_layer_that_changed_most(tmp_path):
    words = words_of(tmp_path, of(watched()))
    assert "fuzziness of conv2 at the last step 0.120" in words and "at the first 0.720" in words
    assert "Measured at 4 steps: interval init, index de luca termini. It fell in 2 of 2 layers." in words
    assert "Fuzziness of each layer, while it learns" in words and "Fuzziness of conv1, while it learns" in words
    assert "Growth looks like decision." in words


def test_another_interval_rises(tmp_path):
    words = words_of(tmp_path, of(watched(intervals=("minmax",))))
    assert "interval minmax" in words and "It fell in 0 of 2 layers and rose in 2." in words


def test_layers_without_a_value_say_why(tmp_path):
    words = words_of(tmp_path, of(watched(failed=["conv1", "conv2"])))
    assert "No layer has a value at the first and the last step" in words and "weights are not finite" in words


def test_several_runs_are_told_apart(tmp_path):
    words = words_of(tmp_path, *[of(watched(), f"run {i}") for i in range(4)])
    assert "run 0: Fuzziness of each layer" in words and "Curves of 1 further runs are left out here." in words


def test_names_are_text_and_nothing_else(tmp_path):
    def named(name):
        one = watched()
        table = one.to_frame().replace({"layer": {"conv1": name}, "status": {"measured": name}})
        return of(dataclasses.replace(one, table=table, provenance={"specimen": {"name": name}}), name)

    plain, nasty = (reading.page_of(named(name), to=tmp_path) for name in ("net", reading.NASTY))
    assert reading.NASTY in reading.words_of(nasty)
    assert reading.elements_of(nasty) == reading.elements_of(plain)
