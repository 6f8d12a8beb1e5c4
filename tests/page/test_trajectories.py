"""What the page says of the paths of weights."""

import dataclasses

import pytest
from charts.test_trajectories import LAYERS, followed
from page import reading

from flexure.results import Result, Run


def of(result: Result, name: str = "net") -> Run:
    return Run(name, {}, {}, {result.probe: result})


def words_of(tmp_path, *runs: Run) -> str:
    return reading.words_of(reading.page_of(*runs, to=tmp_path))


def test_the_answer_is_the_share_beside_that_of_random_walks(tmp_path):
    words = words_of(tmp_path, of(followed()))
    assert "near an end, in conv1 0.700" in words and "of random walks 0.36" in words
    assert "In 1 of 3 layers more weights end near an end of their own path than random walks do, in 1 fewer." in words
    assert "450 weights of 3 layers, looked at 5 times" in words
    assert all(f"Paths of weights: {layer}" in words for layer in LAYERS)
    assert "Not a bound." in words


def test_layers_without_a_number_say_why(tmp_path):
    words = words_of(tmp_path, of(followed(failed=LAYERS)))
    assert "No layer has a number; the table says why." in words and "no weight has moved" in words


def test_several_runs_stand_side_by_side(tmp_path):
    words = words_of(tmp_path, of(followed(), "a"), of(followed(kept=False), "b"))
    assert "a." in words and "b." in words and "Paths of weights: conv1" in words
    words = words_of(tmp_path, of(followed(), "a"), of(followed(), "b"))
    assert "Paths of 3 further layers are left out here" in words


@pytest.mark.parametrize("points", [1, 2])
def test_a_look_or_two_make_a_page_as_well(tmp_path, points):
    assert f"looked at {points} times" in words_of(tmp_path, of(followed(points=points)))


def test_names_are_text_and_nothing_else(tmp_path):
    def named(name):
        one = followed()
        table = one.to_frame().replace({"layer": {"conv1": name}, "status": {"measured": name}})
        return of(dataclasses.replace(one, table=table, provenance={"specimen": {"name": name}}), name)

    plain, nasty = (reading.page_of(named(name), to=tmp_path) for name in ("net", reading.NASTY))
    assert reading.NASTY in reading.words_of(nasty)
    assert reading.elements_of(nasty) == reading.elements_of(plain)
