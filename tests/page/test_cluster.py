"""The panel of clusters: a row for every similarity and method, and whatever strings it is given."""

import numpy as np
from charts.elasticities import elasticity
from page.reading import NASTY, elements_of, page_of, words_of

from flexure.analysis.cluster import cluster
from flexure.results import Run


def clustered(name: str = "net", **options) -> Run:
    return Run(name, {}, {}, {"cluster": cluster(elasticity(12, classes=2, name=name), **options)})


def test_clusters_have_a_row_per_similarity_and_method_with_accuracy_and_error(tmp_path):
    words = words_of(page_of(clustered(similarity=["kernel", "cosine"], method=["kernel_kmeans"]), to=tmp_path))
    assert "kernel kernel K-means 1.000 ± 0" in words and "cosine kernel K-means 1.000 ± 0" in words
    assert "indefinite kernels negative eigenvalues set to zero" in words and "left out" not in words


def test_clusters_without_classes_say_so(tmp_path):
    words = words_of(page_of(clustered(labels=[-1] * 12), to=tmp_path))
    assert words.count("no labels") == 2


def test_clusters_of_several_runs_stand_in_one_table(tmp_path):
    words = words_of(page_of(clustered("one"), clustered("other"), to=tmp_path))
    assert "one another’s move ÷ its own, without sign K-means" in words and "other kernel kernel K-means" in words


def test_strings_in_clusters_stay_text(tmp_path):
    features = {NASTY: np.arange(12.0)[:, None]}
    page = page_of(clustered(NASTY, features=features), to=tmp_path)
    assert "<img src=x" not in page and "img" not in elements_of(page)
