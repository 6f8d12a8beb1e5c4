"""IDX files, plain and compressed, and every way they can be wrong."""

import gzip
import struct

import numpy as np
import pytest

from flexure.data import load
from flexure.data.idx import read_idx
from flexure.errors import DataError


def idx(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def root(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(4 * 28 * 28, dtype=np.uint32).reshape(4, 28, 28).astype(np.uint8)
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx(images))
    (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([7, 2, 1, 0], np.uint8))))
    return tmp_path


def test_images_and_labels_plain_or_compressed(root):
    images = load("mnist", root=root)
    batch = images.read([0, 3])
    assert batch.x.shape == (2, 1, 28, 28)
    assert batch.x[0, 0, 0, :3].tolist() == pytest.approx([0, 1 / 255, 2 / 255])
    assert batch.y.tolist() == [7, 0]
    assert images.classes == tuple("0123456789")
    assert images.name == "mnist (test)"


def test_images_are_fitted_to_a_size(root):
    assert load("mnist", root=root, image_size=32).read([0]).x.shape == (1, 1, 32, 32)


def test_a_missing_file_is_named_with_its_place_and_the_ways_out(root):
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte or .*gz in .*MNIST/raw.*--root.*--download"):
        load("mnist", root=root, split="train")
    with pytest.raises(DataError, match="FashionMNIST"):
        load("fashion-mnist", root=root)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an IDX file of bytes with 3 axes .it is empty"),
        (b"\x89PNG....", "it begins with 89504e47"),
        (idx(np.zeros(5, np.uint8)), "with 3 axes"),
        (idx(np.zeros((2, 3, 4), np.uint8))[:-5], "19 bytes of values where 24 are announced; is it cut off"),
        (idx(np.zeros((2, 3, 4), np.uint8))[:10], "not an IDX file"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, words):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_idx(path, 3)


@pytest.mark.parametrize("cut", [10, -4])
def test_a_damaged_archive_is_refused(tmp_path, cut):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(idx(np.arange(200, dtype=np.uint8)))[:cut])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path, 1)


def test_mnist(real_data):
    images = load("mnist", root=real_data)
    assert len(images) == 10_000
    assert np.bincount(images.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert images.read(range(0, 10_000, 10)).x.mean().item() == pytest.approx(0.1325, abs=0.003)
