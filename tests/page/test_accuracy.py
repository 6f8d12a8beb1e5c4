"""The panel of accuracy: the answer with its interval, a picture only where there is noise, every reason."""

import dataclasses

import numpy as np
import pytest
from charts.test_accuracy import result
from page.reading import page_of, words_of

from flexure.page.accuracy import contents
from flexure.results import Run


def page_with(tmp_path, *results):
    return page_of(*(Run(f"net{i}", {}, {}, {"accuracy": one}) for i, one in enumerate(results)), to=tmp_path)


def test_the_answer_is_that_without_noise_and_has_an_interval(tmp_path):
    words = words_of(page_with(tmp_path, result((10.0, 0.0), accuracy=[0.2, 0.9], accuracy_se=[0.01, 0.01])))
    assert "accuracy 0.900 95 %: 0.879 to 0.918" in words
    assert "Share of 500 images whose class is the largest output" in words


@pytest.mark.parametrize(("value", "words"), [(1.0, "0.9924 to 1.0000"), (0.0, "0.0000 to 0.0076")])
def test_a_network_without_exception_has_an_interval_of_some_width(value, words):
    one = result((0.0,), accuracy=[value], accuracy_se=[0.0])
    assert contents([one], ["net"]).answers[0].interval == words


def test_there_is_a_picture_only_where_levels_differ():
    assert len(contents([result()], ["a"]).pictures) == 1
    assert not contents([result((0.0,)), result((0.0,))], ["a", "b"]).pictures
    assert contents([result((0.0,)), result((1.0,))], ["a", "b"]).pictures


def test_every_level_of_every_run_is_in_the_table(tmp_path):
    words = words_of(page_with(tmp_path, result(), result((0.0, 1.0))))
    assert "net0 100 500 1 0.100 ± 0.010 0.900 ± 0.010" in words
    assert "net1 1 500 1" in words


def test_more_than_three_runs_have_their_table_alone(tmp_path):
    words = words_of(page_with(tmp_path, *[result((0.0,))] * 4))
    assert "Share of" not in words
    assert "net3 0 500 1 0.900 ± 0.010" in words


def test_what_was_not_measured_says_why(tmp_path):
    gone = {name + end: [np.nan] for name in ("accuracy", "error", "loss") for end in ("", "_se")}
    words = words_of(page_with(tmp_path, result((0.0,), status=["no labels"], n=[0], **gone)))
    assert "Not measured: no labels." in words
    assert words.count("no labels") == 2


def test_lines_that_do_not_apply_are_left_out(tmp_path):
    words = words_of(page_with(tmp_path, result()))
    assert "draws per image 1" in words
    assert "deformation" not in words.partition("How it was measured")[2]


def test_the_page_says_what_is_taken_for_the_answer():
    one = result((0.0,))
    assert contents([one], ["a"]).answer == "the largest output"
    hinge = dataclasses.replace(one, units={**one.units, "loss": "hinge"})
    assert contents([hinge], ["a"]).answer == "the sign of the output"
    named = dataclasses.replace(one, provenance={"settings": {"loss": "Squared(half=False)"}})
    assert contents([named], ["a"]).answer == "what the outputs stand for by their loss"
