"""Classes under one label: which images are kept, what they are called, and that their own classes come back."""

import numpy as np
import pytest
import torch

import flexure
from flexure.data import (
    TensorImages,
    as_images,
    bounds_of,
    content_hash,
    groups_in,
    hold_out,
    load,
    own_labels_of,
    sample,
)
from flexure.data.groups import grouped, of_label
from flexure.data.manifolds import Manifold
from flexure.data.memory import in_memory
from flexure.errors import ArgumentError, DataError
from tests.runs.test_trainee import folder


def images_of(counts, names=None) -> TensorImages:
    labels = np.repeat(np.arange(len(counts)), counts)
    x = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1)
    return TensorImages(x, labels, "made", names)


def test_only_images_of_the_groups_are_kept_under_their_indices_and_new_labels():
    images = images_of([2, 3, 1, 2], ("a", "b", "c", "d"))
    found = grouped(images, [["d"], ["a", "b"]])
    assert found.indices.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert found.labels.tolist() == [1, 1, 1, 1, 1, 0, 0] and found.classes == ("d", "a+b")
    assert found.name == "made: d / a+b" and len(found) == 7
    batch = found.read([6, 0, 3])
    assert batch.x.flatten().tolist() == batch.index.tolist() == [7, 0, 3]
    assert batch.y.tolist() == [0, 1, 1]


def test_classes_without_names_go_by_their_numbers_and_images_without_a_label_are_left_out():
    x = torch.zeros(5, 1, 2, 2)
    found = grouped(TensorImages(x, np.array([0, 2, -1, 1, 2])), [["2"], ["0"]])
    assert found.indices.tolist() == [0, 1, 4] and found.labels.tolist() == [1, 0, 0]


def test_own_classes_come_back():
    images = images_of([4, 4, 4], ("a", "b", "c"))
    both = grouped(images, [["b"], ["a", "c"]])
    one = of_label(both, 1)
    assert one.labels.tolist() == [0] * 4 + [2] * 4 and one.classes == ("a", "b", "c")
    assert one.read([0, 7]).y.tolist() == [0, 2] and one.indices.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    assert of_label(images, 1).labels.tolist() == [1] * 4  # of images that are not grouped: those of a class
    labels, names = own_labels_of(sample(in_memory(both), 6, seed=0))
    assert np.bincount(labels)[1] == 3 and sorted(np.bincount(labels)[[0, 2]]) == [1, 2]
    assert names == ("a", "b", "c")


def test_a_sample_is_balanced_over_groups_and_within_them_and_part_of_a_larger_one():
    both = grouped(images_of([50, 40, 30, 20]), [["0"], ["1", "2", "3"]])
    chosen = sample(both, 36, seed=3)
    assert np.bincount(chosen.labels).tolist() == [18, 18]
    assert np.bincount(own_labels_of(chosen)[0]).tolist() == [18, 6, 6, 6]
    assert set(chosen.indices) < set(sample(both, 80, seed=3).indices)
    kept, held = hold_out(both, 0.3, seed=0)
    assert np.ptp(np.bincount(held.labels)) <= 1 and np.ptp(np.bincount(own_labels_of(held)[0])[1:]) <= 1
    assert not set(kept.indices) & set(held.indices)


def test_without_groups_samples_are_what_they_were():
    images = load("digits8")
    assert sample(images, 50, seed=0).indices[:5].tolist() == [33, 63, 104, 148, 192]
    assert content_hash(sample(images, 50, seed=0)) == content_hash(load("digits8", limit=50, seed=0))


def test_labels_that_are_not_known_without_reading_are_read():
    class Unlabelled(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, k):
            if k == 3:
                raise OSError("broken")
            return torch.zeros(1, 2, 2), k % 3

    found = grouped(as_images(Unlabelled()), [["0"], ["1"]])
    assert found.indices.tolist() == [0, 1, 4] and found.read([0, 1, 2]).y.tolist() == [0, 1, 1]
    assert of_label(as_images(Unlabelled()), 2).indices.tolist() == [2, 5]


def test_a_damaged_image_takes_no_other_images_label_with_it(tmp_path):
    root = folder(tmp_path) / "train"
    (root / "class0" / "0.png").write_bytes(b"no picture")
    images = flexure.load(f"folder:{root}:groups=class2/class0+class1", image_size=32)
    batch = images.read(range(len(images)))
    assert len(batch.skipped) == 1 and len(batch.y) == len(images) - 1
    assert batch.y.tolist() == [int(index < 8) for index in batch.index]


def test_groups_stand_behind_a_name():
    assert groups_in("digits") == ("digits", ())
    found = load("digits:groups=3+9/5+8", limit=40, seed=1)
    assert found.classes == ("3+9", "5+8") and np.bincount(found.labels).tolist() == [20, 20]
    assert bounds_of(found) is None and len(load("digits:groups=1/2")) == 359


def test_distances_between_points_of_a_label_are_kept():
    points = Manifold("two-cycles", size=10)
    one = of_label(points, 1)
    assert flexure.data.distances_of(one).shape == (5, 5)


@pytest.mark.parametrize(("name", "words"), [
    ("digits:groups=3", "expected at least two groups of classes, such as 3+9/5+8"),
    ("digits:groups=", "at least two groups"),
    ("digits:groups=3+/5", "at least two groups"),
    ("digits:groups=3/5+3", "class '3' stands twice"),
    ("digits:groups=3/11", "no class '11'"),
    ("digts:groups=3/5", "no data set 'digts'. Did you mean 'digits'"),
    ("torus-curves:groups=0/1", "torus-curves is made with labels of its own"),
])  # fmt: skip
def test_groups_that_cannot_be_made_are_refused(name, words):
    with pytest.raises(ArgumentError) as wrong:
        load(name)
    assert words in str(wrong.value)


def test_a_folder_that_is_not_there_is_named_with_groups_too(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        load(f"folder:{tmp_path}/nowhere:groups=a/b")


def test_a_label_without_images_is_refused():
    with pytest.raises(ArgumentError, match="no image of label 7; there are 0, 1"):
        of_label(images_of([1, 1]), 7)
    with pytest.raises(ArgumentError, match="no image of the classes b, c"):
        grouped(images_of([2, 0, 0], ("a", "b", "c")), [["b"], ["c"]])
