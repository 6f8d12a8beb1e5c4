"""What is worked out unasked: where there is something to say, and nothing else."""

import numpy as np
import torch
from torch import nn

import flexure
from flexure.analysis.follow import following

X = torch.rand(12, 1, 3, 3, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 1))


def test_classes_and_distances_follow_from_elasticity():
    measured = flexure.elasticity(network(), (X, Y))
    found = {one.probe: one for one in following(measured)}
    assert list(found) == ["class_sensitivity", "against_distance"]
    assert found["against_distance"]["similarity"].tolist() == ["cosine", "relative_signed", "relative"]
    assert len(found["class_sensitivity"]) == 10


def test_where_no_class_is_known_clusters_follow():
    found = {one.probe: one for one in following(flexure.elasticity(network(), X))}
    assert list(found) == ["against_distance", "cluster"]


def test_other_images_are_watched_by_class_alone():
    found = following(flexure.elasticity(network(), (X, Y), points=(X[:5], Y[:5])))
    assert [one.probe for one in found] == ["class_sensitivity"]
    assert found[0]["n"][-1] == 17
    assert following(flexure.elasticity(network(), (X, Y), points=X[:5])) == []


def test_nothing_follows_from_anything_else_or_from_matrices_too_large_for_distances():
    measured = flexure.elasticity(network(), (X, Y))
    assert following(flexure.filters(nn.Conv2d(1, 2, 3))) == []
    arrays = {name: value for name, value in measured.arrays.items() if name != "distance"}
    assert following(flexure.Result("elasticity", "?", measured.table, arrays)) == []


def test_examine_keeps_what_follows_and_reads_it_back(tmp_path):
    run = flexure.examine(network(), (X, Y), probes=["elasticity"], out=tmp_path / "one")
    assert set(run.results) == {"elasticity", "class_sensitivity", "against_distance"}
    back = flexure.read(tmp_path / "one")
    np.testing.assert_array_equal(back["class_sensitivity"]["signed_map"], run["class_sensitivity"]["signed_map"])


def test_a_run_that_was_stopped_before_it_kept_what_follows_has_it_when_it_goes_on(tmp_path):
    about = {"probes": ["elasticity"], "out": tmp_path / "one"}
    whole = flexure.examine(network(), (X, Y), **about)
    (tmp_path / "one" / "class_sensitivity.parquet").unlink()
    again = flexure.examine(network(), (X, Y), **about, resume=True)
    assert set(again.results) == set(whole.results) == set(flexure.read(tmp_path / "one").results)
