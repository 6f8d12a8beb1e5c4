"""The panel of elasticity: its answer, its pictures, its tables, and whatever strings it is given."""

import json
from dataclasses import replace

import numpy as np
import pytest
from charts.elasticities import elasticity, run
from page.reading import NASTY, data_in, elements_of, page_of, words_of

from flexure.analysis.cluster import cluster
from flexure.results import Result, Run


def test_the_answer_is_how_far_others_are_moved_with_its_interval(tmp_path):
    words = words_of(page_of(run(), to=tmp_path))
    assert "another image’s move ÷ its own 0.4200 95 %: 0.4118 to 0.4282" in words
    assert "moves the prediction on another 0.4200 times as far as its own" in words
    assert "mean cosine of 0.7500; that is 0.6400 of the sum of it and the mean between classes" in words
    assert "The layer with the largest part in it is fc3 , with a share of 0.500" in words


def test_without_classes_nothing_is_said_of_them(tmp_path):
    nothing = dict.fromkeys(("same_class", "same_class_se", "ratio", "ratio_se"), np.nan)
    words = words_of(page_of(run(elasticity(classes=None, **nothing)), to=tmp_path))
    assert "as far as its own" in words and "mean cosine within a class" not in words


def test_other_images_are_answered_with_a_median(tmp_path):
    result = elasticity(12, others=5)
    words = words_of(page_of(run(result), to=tmp_path))
    assert f"watched {np.median(result['relative']):.3f} times" in words and "images watched 5 of others" in words


def test_every_layer_is_in_the_table_with_its_share(tmp_path):
    words = words_of(page_of(run(elasticity(layers=3)), to=tmp_path))
    assert "fc2 Linear 200 0.333 ± 0.020 4.00 ± 0.10" in words
    assert "output 600 1.000 ± 0 12.00 ± 0.30 0.4200 ± 0.0042" in words


def test_a_row_that_was_not_measured_says_why(tmp_path):
    words = words_of(page_of(run(elasticity(status=["moves no prediction", *["measured"] * 3])), to=tmp_path))
    assert "moves no prediction" in words
    words = words_of(page_of(run(elasticity(status=["no image moves its own prediction"] * 4)), to=tmp_path))
    assert "Not measured: no image moves its own prediction." in words


@pytest.mark.parametrize(("runs", "pictures"), [(1, 2), (2, 3), (6, 5)])
def test_there_is_a_matrix_for_up_to_four_runs_and_one_picture_of_the_layers(tmp_path, runs, pictures):
    page = page_of(*(run(name=f"net{i}") for i in range(runs)), to=tmp_path)
    assert len(data_in(page)["charts"]) == pictures == page.count("data-chart=")
    assert ("Matrices of 2 further runs are left out here" in words_of(page)) == (runs == 6)
    assert ("net5 net5 · cifar10 · 500 images · seed 0 0.4200" in words_of(page)) == (runs == 6)


def test_steps_of_finite_size_are_told_with_what_they_cost(tmp_path):
    result = elasticity(layers=0)
    settings = dict(result.provenance["settings"]) | {"step": 0.001, "steps": 2, "sequential": True}
    about = {"settings": settings, "route": "loop", "diagnostics": {"linearity": 0.02, "rounding": 1e-9}}
    result = Result("elasticity", "How?", result.table, result.arrays, {}, dict(result.provenance) | about)
    words = words_of(page_of(run(result), to=tmp_path))
    for part in (
        "step 0.001, 2 of them",
        "begins where the one before ended",
        "route new weights for every image",
        "most of a residual taken by a step 0.02",
        "rounding, at the first images 1e-09",
    ):
        assert part in words, part
    assert len(data_in(page_of(run(result), to=tmp_path))["charts"]) == 1


def test_a_sketch_is_told_with_how_far_it_is_off(tmp_path):
    result = elasticity()
    about = dict(result.provenance) | {"diagnostics": {"sketch_error": 0.0312, "sketch_images": 32.0}}
    about["settings"] = dict(about["settings"]) | {"sketch": 4096, "output": "all"}
    words = words_of(page_of(run(replace(result, provenance=about)), to=tmp_path))
    assert "kernel a sketch of 4,096 numbers per gradient, off by 0.031 of its norm at 32 images" in words
    assert "the only output, or the sum over all of them" in words


def test_a_thousand_images_make_a_page_little_larger_than_twelve(tmp_path):
    few, many = (len(json.dumps(data_in(page_of(run(elasticity(n)), to=tmp_path)))) for n in (12, 1000))
    assert many < few + 120_000


def test_a_bare_table_is_shown_with_what_it_has(tmp_path):
    bare = Result("elasticity", "How?", elasticity().table)
    page = page_of(run(bare), to=tmp_path)
    assert "fc2 Linear" in words_of(page) and len(data_in(page)["charts"]) == 1
    empty = Result("elasticity", "How?", elasticity().table.iloc[:0])
    assert "Not measured: the table is empty." in words_of(page_of(run(empty), to=tmp_path))


def test_a_few_images_are_shown_with_their_nearest_and_farthest_and_the_values(tmp_path):
    result = elasticity(pictures=True)
    page = page_of(run(result), to=tmp_path)
    assert page.count('<img src="data:image/png') == 3 * 5
    words = words_of(page)
    assert (
        "Then the 2 others most like it and, behind the gap, the 2 least like it, with their values (cosine)" in words
    )
    assert "class 0 image 100 0.750 (0) 0.750 (0) −0.250 (1) −0.250 (2)" in words
    assert 'alt="image 103, class 0, cosine 0.750"' in page


def test_images_of_an_unknown_class_go_by_their_number(tmp_path):
    words = words_of(page_of(run(elasticity(classes=None, pictures=True)), to=tmp_path))
    assert "image 100 image 100 0.750 0.750" in words and "in brackets" not in words


def test_neighbors_among_other_images_have_no_class(tmp_path):
    words = words_of(page_of(run(elasticity(12, others=8, pictures=True)), to=tmp_path))
    assert "Then the 2 watched images most like it" in words
    assert "class 0 image 100 0.750 0.750 −0.250 −0.250" in words


def test_images_of_several_runs_are_those_of_the_first_that_has_some(tmp_path):
    page = page_of(run(name="one"), run(elasticity(pictures=True, name="two"), name="two"), to=tmp_path)
    assert "Of two; those of the other runs are in their folders." in words_of(page)
    assert page.count('<img src="data:image/png') == 3 * 5


def test_large_images_do_not_make_a_large_page(tmp_path):
    result = elasticity(pictures=True)
    noise = np.random.default_rng(0).uniform(size=(3, 5, 3, 112, 112))
    large = Result(
        "elasticity", "How?", result.table, dict(result.arrays) | {"sample_image": noise}, {}, result.provenance
    )
    page = page_of(run(large), to=tmp_path)
    assert page.count('<img src="data:image/png') == 5  # at least one row


def test_strings_that_try_to_be_html_stay_text(tmp_path):
    result = elasticity(name=NASTY, layer=[NASTY, "b", "c", "output"], status=[NASTY, *["measured"] * 3])
    page = page_of(run(result, name=NASTY), run(name=NASTY + "2"), to=tmp_path)
    assert "<img src=x" not in page and "alert(2)</script>" not in page
    assert "img" not in elements_of(page)


def test_where_no_class_is_known_the_matrix_is_ordered_by_the_clusters_of_the_run(tmp_path):
    result = elasticity(12, classes=None)
    both = {"elasticity": result, "cluster": cluster(result, similarity="kernel")}
    words = words_of(page_of(Run("net", {}, {}, both), to=tmp_path))
    assert "ordered by cluster" in words
    assert "ordered by cluster" not in words_of(page_of(run(result), to=tmp_path))


def test_images_that_are_watched_are_shown_with_their_own_classes(tmp_path):
    result = elasticity(12, others=5, pictures=True)
    arrays = {**result.arrays, "point_labels": np.array([7, 8, 7, 8, 7]), "sample_place": result["sample_place"] % 5}
    result = Result("elasticity", "?", result.table, arrays, provenance=dict(result.provenance))
    words = words_of(page_of(run(result), to=tmp_path))
    assert "watched images most like it" in words and "(7)" in words and "(8)" in words
