"""Anyone's data set: read by position, checked for being replayable, and named where it is bad."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from flexure.data import Images, as_images, sample
from flexure.data.dataset import known_labels
from flexure.errors import ArgumentError, DataError


class Listed(Dataset):
    """Items given one by one; an exception among them is raised."""

    def __init__(self, items, targets=None):
        self.items, self.targets = items, targets

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        item = self.items[position]
        if isinstance(item, Exception):
            raise item
        return item


def gray(value: int, side: int = 4) -> Image.Image:
    return Image.fromarray(np.full((side, side), value, np.uint8))


def test_pictures_with_labels():
    batch = as_images(Listed([(gray(0), 3), (gray(51), 1)])).read([1, 0])
    assert batch.x.shape == (2, 1, 4, 4)
    assert batch.x[:, 0, 0, 0].tolist() == pytest.approx([0.2, 0])
    assert batch.y.tolist() == [1, 3]
    assert batch.index.tolist() == [1, 0]


@pytest.mark.parametrize("label", [np.int64(2), torch.tensor(2), torch.tensor([2]), np.uint8(2)])
def test_labels_of_any_integer_kind(label):
    assert as_images(Listed([(torch.zeros(1, 2, 2), label)])).read([0]).y.tolist() == [2]


@pytest.mark.parametrize("rest", [None, (), (0.3,), (None,), (torch.zeros(2),), ("cat",)])
def test_without_a_class_index_the_label_is_minus_one(rest):
    image = torch.zeros(1, 2, 2)
    item = image if rest is None else (image, *rest)
    assert as_images(Listed([item])).read([0]).y.tolist() == [-1]


def test_bytes_are_scaled_and_floating_point_is_not():
    raw = torch.full((1, 2, 2), 255, dtype=torch.uint8)
    assert as_images(Listed([raw])).read([0]).x.unique().tolist() == [1]
    assert as_images(Listed([torch.full((1, 2, 2), 255.0)])).read([0]).x.unique().tolist() == [255]


def test_a_loader_gives_its_data_set_in_its_own_order():
    data = TensorDataset(torch.arange(6.0).view(6, 1, 1, 1), torch.arange(6))
    images = as_images(DataLoader(data, batch_size=4, shuffle=True, drop_last=True))
    assert images.read(range(6)).x.flatten().tolist() == list(range(6))
    assert images.labels.tolist() == list(range(6))


def test_what_load_returns_passes_through():
    images = as_images(torch.zeros(2, 1, 2, 2))
    assert as_images(images) is images
    assert isinstance(images, Images)


def test_a_stream_without_positions_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([])

    for data in (Stream(), DataLoader(Stream())):
        with pytest.raises(ArgumentError, match=r"Stream is an IterableDataset.*Give a map-style Dataset, or"):
            as_images(data)


@pytest.mark.parametrize("data", [7, "digits", {"x": 1}, None, iter([])])
def test_what_is_no_data_is_refused(data):
    with pytest.raises(ArgumentError, match=f"expected what flexure.load returns.*got {type(data).__name__}"):
        as_images(data)


def test_a_name_in_place_of_data_is_told_how_to_load_it():
    with pytest.raises(ArgumentError, match=r"flexure.load\('digits'\)"):
        as_images("digits")


def test_an_empty_data_set_is_refused():
    with pytest.raises(DataError, match="Listed: there is no image in it"):
        as_images(Listed([]))
    with pytest.raises(DataError, match="nothing: there is no image in it"):
        as_images(Nothing())


class Nothing:
    """Images as anyone may write them, none of them."""

    name, indices, classes = "nothing", np.arange(0), None

    def __len__(self):
        return 0

    def read(self, positions):
        raise IndexError


def test_a_damaged_item_is_skipped_and_named_and_the_rest_delivered():
    items = [(gray(0), 0), OSError("image file is truncated"), (gray(255), 1)]
    batch = as_images(Listed(items)).read([0, 1, 2])
    assert batch.index.tolist() == [0, 2]
    assert batch.y.tolist() == [0, 1]
    assert batch.skipped == ((1, "item 1 of Listed: image file is truncated"),)


def test_a_batch_of_damaged_items_alone_is_empty_and_has_the_shape_of_the_rest():
    batch = as_images(Listed([OSError("gone"), (gray(0), 0)])).read([0])
    assert batch.x.shape == (0, 1, 4, 4)
    assert batch.skipped == ((0, "item 0 of Listed: gone"),)


def test_a_data_set_of_damaged_items_alone_is_refused():
    with pytest.raises(DataError, match="none of its 2 images can be read"):
        as_images(Listed([OSError("gone")] * 2)).read([0])


def test_a_bug_in_the_data_set_is_not_taken_for_a_damaged_file():
    with pytest.raises(DataError, match="Listed: item 1 cannot be read: no column 'img'"):
        as_images(Listed([(gray(0), 0), ValueError("no column 'img'")])).read([0, 1])


def test_items_that_are_dicts_are_refused_with_their_keys():
    with pytest.raises(DataError, match=r"a dict with keys \['image'\]; the data set must return \(image, label\)"):
        as_images(Listed([{"image": gray(0)}])).read([0])


def test_images_of_mixed_sizes_are_refused_naming_two():
    images = as_images(Listed([(gray(0), 0), (gray(0), 0), (gray(0, side=5), 1)]))
    images.read([0, 1])
    with pytest.raises(DataError, match=r"item 0 is \(1, 4, 4\), item 2 is \(1, 5, 5\).*--image-size"):
        images.read([2])


def test_random_augmentation_is_noticed():
    class Noisy(Listed):
        def __getitem__(self, position):
            return torch.rand(1, 2, 2), 0

    with pytest.raises(DataError, match="item 0 came out differently when it was read again"):
        as_images(Noisy([0] * 4)).read([0])


def test_nan_is_not_taken_for_augmentation():
    assert as_images(Listed([torch.full((1, 2, 2), torch.nan)])).read([0]).x.isnan().all()


def test_labels_kept_beside_the_images_balance_a_sample_without_reading():
    class Unread(Listed):
        def __getitem__(self, position):
            raise AssertionError("read")

    images = as_images(Unread([None] * 40, targets=[0] * 30 + [1] * 10))
    assert np.bincount(sample(images, 12).labels).tolist() == [6, 6]


def test_labels_are_found_through_subsets_and_not_where_they_are_something_else():
    data = Listed([None] * 4, targets=torch.tensor([3, 1, 2, 0]))
    assert known_labels(Subset(data, [2, 0])).tolist() == [2, 3]
    assert known_labels(Listed([None] * 2, targets=[0.5, 1.5])) is None
    assert known_labels(Listed([None] * 2, targets=[1])) is None
    assert known_labels(Listed([None] * 2)) is None
