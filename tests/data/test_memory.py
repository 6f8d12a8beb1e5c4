"""Images kept in memory are those of the set, whatever can be read of it."""

import numpy as np
import torch
from PIL import Image

from flexure.data import Batch, FolderImages, TensorImages, hold_out, load, sample
from flexure.data.memory import Remembered, in_memory


def pictures(root, count: int = 6):
    generator = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % 2}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (5, 4, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return root


def same(one: Batch, other: Batch) -> bool:
    parts = [(one.x, other.x), (one.y, other.y), (one.index, other.index)]
    return all(torch.equal(a, b) for a, b in parts) and one.skipped == other.skipped


def test_pictures_are_kept_as_bytes_and_come_out_the_same(tmp_path):
    images = FolderImages(pictures(tmp_path))
    kept = in_memory(images)
    assert isinstance(kept, Remembered)
    assert (kept.x.dtype, len(kept), kept.name, kept.classes) == (torch.uint8, 6, images.name, images.classes)
    assert same(kept.read([4, 0, 3]), images.read([4, 0, 3]))


def test_what_cannot_be_read_is_named_each_time(tmp_path):
    root = pictures(tmp_path)
    (root / "class0" / "2.png").write_bytes(b"not a picture")
    images = FolderImages(root, image_size=(5, 4))
    kept = in_memory(images)
    whole = list(range(6))
    assert same(kept.read(whole), images.read(whole))
    assert len(kept.read(whole).skipped) == 1
    assert kept.read([0]).skipped == ()


def test_resized_images_keep_their_own_numbers_and_a_sample_its_indices(tmp_path):
    images = sample(load("digits", image_size=32), 20, seed=1)
    kept = in_memory(images)
    assert kept.x.dtype == torch.float32
    assert np.array_equal(kept.indices, images.indices)
    assert same(kept.read([3, 7]), images.read([3, 7]))


def test_what_is_at_hand_or_too_large_is_left_as_it_is(tmp_path):
    tensors = TensorImages(torch.rand(8, 1, 4, 4), np.arange(8) % 2)
    assert in_memory(tensors) is tensors
    kept, _ = hold_out(tensors, 0.5)
    assert in_memory(kept) is kept
    images = FolderImages(pictures(tmp_path))
    assert in_memory(images, limit=5 * 4 * 3 * 5) is images
