"""Images in memory: what is accepted, what is refused and in which words."""

import numpy as np
import pytest
import torch

from flexure.data import TensorImages, as_images
from flexure.errors import DataError


def test_floating_point_numbers_are_taken_as_they_are_and_bytes_scaled():
    x = torch.tensor([[[[-3.0, 7.5]]]], dtype=torch.float64)
    assert torch.equal(as_images(x).read([0]).x, x)
    raw = torch.tensor([[[[0, 51, 255]]]], dtype=torch.uint8)
    assert torch.equal(as_images(raw).read([0]).x, torch.tensor([[[[0, 0.2, 1]]]]))


def test_reading_gives_copies():
    x = torch.zeros(3, 1, 2, 2)
    batch = as_images(x).read([0, 1])
    batch.x.fill_(5)
    assert not x.any()


def test_nan_passes_through():
    x = torch.full((2, 1, 2, 2), torch.nan)
    assert as_images(x).read([0, 1]).x.isnan().all()


def test_gradients_do_not_follow_the_images():
    x = torch.zeros(2, 1, 2, 2, requires_grad=True)
    assert not as_images(x).read([0]).x.requires_grad


def test_labels_come_along_and_are_minus_one_where_there_are_none():
    x = torch.rand(3, 1, 2, 2)
    assert as_images((x, torch.tensor([2, 0, 1]))).read([2, 0]).y.tolist() == [1, 2]
    assert as_images(x).read([2, 0]).y.tolist() == [-1, -1]


def test_arrays_are_as_good_as_tensors_also_read_only_ones():
    x, y = np.zeros((3, 1, 2, 2), np.float32), np.array([1, 2, 3], np.uint8)
    x.setflags(write=False)
    batch = as_images([x, y]).read([1])
    assert batch.x.shape == (1, 1, 2, 2)
    assert batch.y.tolist() == [2]


def test_images_are_fitted_when_read():
    images = TensorImages(torch.rand(2, 3, 8, 12), image_size=(4, 4))
    assert images.read([0, 1]).x.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(0, 3, 4, 4), "there is no image in it"),
        (torch.zeros(5, 4, 4), r"must be \(n, C, H, W\); got \(5, 4, 4\). Gray images\? Add the channel axis"),
        (torch.zeros(5, 8, 8, 3), r"looks like channels last; use x.permute\(0, 3, 1, 2\)"),
        (torch.zeros(5, 3, 4, 4, dtype=torch.int64), "must be floating point or bytes .*; got torch.int64"),
        (np.zeros((2, 1, 2, 2), "datetime64[s]"), "an array of datetime64.* is not images"),
    ],
)
def test_what_are_no_images_is_refused(x, words):
    with pytest.raises(DataError, match=words):
        as_images(x)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (torch.zeros(4, dtype=torch.int64), "3 images but 4 labels"),
        (torch.zeros(3, 10), r"class indices \(n,\), whole numbers; got float32 \(3, 10\). One-hot\? argmax"),
        (torch.tensor([0.5, 1, 2]), "whole numbers; got float32"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y, words):
    with pytest.raises(DataError, match=words):
        as_images((torch.zeros(3, 1, 2, 2), y))
