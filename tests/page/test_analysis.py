"""The panels of what is worked out from a matrix: the answer, the picture, the numbers."""

import numpy as np
from charts.elasticities import elasticity
from charts.test_analyses import path, patterns
from charts.test_distance import found as against
from page.reading import NASTY, data_in, elements_of, page_of, words_of

from flexure.analysis.class_sensitivity import class_sensitivity
from flexure.analysis.spectrum import spectrum
from flexure.results import Result, Run


def of(*results: Result, name: str = "net") -> Run:
    return Run(name, {}, {}, {result.probe: result for result in results})


def test_classes_are_answered_with_how_far_the_largest_lies_above_the_average(tmp_path):
    found = class_sensitivity(elasticity(24))
    page = page_of(of(found), to=tmp_path)
    words = words_of(page)
    last = found.to_frame().iloc[-1]
    assert f"largest ÷ average of its column {last['worst_over_average']:.2f}" in words
    assert "How far training on one class moves another" in words and "stepped on watched pairs" in words
    assert len(data_in(page)["charts"]) == page.count("data-chart=") == 1


def test_distances_are_answered_with_a_rank_correlation(tmp_path):
    words = words_of(page_of(of(against(similarity="cosine")), to=tmp_path))
    assert "rank correlation with distance" in words
    assert "1,500 of 3,540 pairs" in words and "half distance" in words


def test_many_runs_make_a_table_and_some_of_the_pictures(tmp_path):
    runs = [of(class_sensitivity(elasticity(24)), against(similarity="cosine"), name=f"net{i}") for i in range(6)]
    page = page_of(*runs, to=tmp_path)
    assert len(data_in(page)["charts"]) == page.count("data-chart=") == 4 + 1
    assert "Pictures of 2 further runs are left out here." in words_of(page)


def test_classes_without_pairs_say_so(tmp_path):
    words = words_of(page_of(of(class_sensitivity(elasticity(7, classes=6))), to=tmp_path))
    assert "some classes have no pair of different images" in words


def test_names_are_text_and_nothing_else(tmp_path):
    pages = [page_of(of(class_sensitivity(elasticity(24, name=n)), name=n), to=tmp_path) for n in ("net", NASTY)]
    assert elements_of(pages[0]) == elements_of(pages[1])


def test_patterns_are_answered_over_all_units_and_told_op_by_op(tmp_path):
    page = page_of(of(patterns()), to=tmp_path)
    words = words_of(page)
    assert "mean cosine of patterns 0.650" in words and "picks one of several" in words
    assert len(data_in(page)["charts"]) == page.count("data-chart=") == 1


def test_impacts_are_answered_at_the_end_with_the_phase_plot_first(tmp_path):
    page = page_of(of(path()), to=tmp_path)
    words = words_of(page)
    assert "a mean has turned around or vanished: no rate" in words and "Impact within classes" in words
    assert len(data_in(page)["charts"]) == page.count("data-chart=") == 2


def test_spectra_are_answered_with_the_effective_number_of_directions(tmp_path):
    words = words_of(page_of(of(spectrum(np.diag([4.0, 2.0, 0.0, -1.0]))), to=tmp_path))
    assert "effective number of directions 2" in words and "share of negative ones 0.1" in words
