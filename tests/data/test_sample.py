"""A sample is balanced, seeded, nested, and keeps every image's index."""

import numpy as np
import pytest
import torch

from flexure.data import TensorImages, balanced, hold_out, sample
from flexure.errors import ArgumentError


def images_of(counts: list[int]) -> TensorImages:
    labels = np.repeat(np.arange(len(counts)), counts)
    x = torch.arange(len(labels), dtype=torch.float32).view(-1, 1, 1, 1)
    return TensorImages(x, labels)


def test_classes_are_balanced_and_the_remainder_differs_by_one():
    chosen = sample(images_of([50, 30, 40]), 20, seed=0)
    counts = np.bincount(chosen.labels)
    assert counts.sum() == 20
    assert counts.max() - counts.min() == 1


def test_a_class_that_has_run_out_is_passed_over():
    chosen = sample(images_of([50, 2, 50]), 20, seed=0)
    assert np.bincount(chosen.labels).tolist() == [9, 2, 9]


def test_images_keep_their_index_and_their_pixels():
    images = images_of([10, 10])
    chosen = sample(images, 7, seed=3)
    assert (np.diff(chosen.indices) > 0).all()
    batch = chosen.read([4, 0])
    assert batch.index.tolist() == chosen.indices[[4, 0]].tolist()
    assert batch.x.flatten().tolist() == batch.index.tolist()


def test_another_seed_gives_another_sample_and_the_same_seed_the_same():
    images = images_of([100, 100])
    one, again, other = (sample(images, 20, seed=seed).indices.tolist() for seed in (0, 0, 1))
    assert one == again
    assert one != other


def test_a_smaller_sample_is_part_of_a_larger_one():
    images = images_of([40, 25, 60])
    small, large = (set(sample(images, limit, seed=5).indices.tolist()) for limit in (17, 58))
    assert small < large


def test_a_sample_of_a_sample_keeps_the_indices_of_the_full_set():
    images = images_of([40, 40])
    chosen = sample(sample(images, 30, seed=0), 10, seed=1)
    assert chosen.read(range(10)).x.flatten().tolist() == chosen.indices.tolist()


def test_an_image_is_drawn_by_its_index_whoever_else_is_there():
    full = np.arange(60)
    chosen = set(balanced(None, full, 20, seed=0).tolist())
    rest = np.array(sorted({*chosen, *range(0, 60, 3)}))
    assert set(rest[balanced(None, rest, 20, seed=0)].tolist()) == chosen


def test_every_image_is_equally_likely():
    counts = np.zeros(30)
    for seed in range(2000):
        counts[balanced(None, np.arange(30), 10, seed=seed)] += 1
    se = np.sqrt(2000 * (1 / 3) * (2 / 3))
    assert np.abs(counts - 2000 / 3).max() < 4 * se


def test_without_a_limit_or_with_a_large_one_all_images_come():
    images = images_of([3, 4])
    assert sample(images, None) is images
    assert sample(images, 100) is images


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ArgumentError, match=rf"limit must be at least 1; got {limit}"):
        sample(images_of([3]), limit)


def test_held_out_images_are_balanced_and_in_neither_part_twice():
    images = images_of([50, 50])
    kept, held = hold_out(images, 0.2, seed=0)
    assert np.bincount(held.labels).tolist() == [10, 10]
    assert sorted([*kept.indices, *held.indices]) == list(range(100))


@pytest.mark.parametrize("fraction", [0, 1, -0.1])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(ArgumentError, match=r"fraction must lie in \(0, 1\)"):
        hold_out(images_of([5]), fraction)


def test_one_image_cannot_be_divided():
    with pytest.raises(ArgumentError, match="1 image cannot be divided"):
        hold_out(images_of([1]))
