"""Data sets through torchvision: needs the optional package."""

import pickle

import numpy as np
import pytest
from PIL import Image

from flexure import ecosystem
from flexure.data import load
from flexure.data.vision import VISION
from flexure.errors import DataError, MissingPackageError


@pytest.fixture
def torchvision():
    try:
        return ecosystem.torchvision()
    except MissingPackageError as wrong:
        pytest.skip(str(wrong))


def test_every_class_of_the_table_exists_and_knows_its_options(torchvision):
    import inspect

    for name, source in VISION.items():
        parameters = inspect.signature(getattr(torchvision.datasets, source.kind)).parameters
        assert set(source.train) == set(source.test)
        assert set(source.test) <= set(parameters), name
        assert not source.fetches or "download" in parameters, name


def test_missing_files_are_said_to_be_missing(torchvision, tmp_path):
    with pytest.raises(DataError, match=r"cifar10: not found under .*--download"):
        load("cifar10", root=tmp_path)
    with pytest.raises(DataError, match=r"imagenet: not found under"):
        load("imagenet", root=tmp_path)


def test_class_folders_under_the_root_are_pointed_out(torchvision, tmp_path):
    (tmp_path / "svhn" / "test" / "0").mkdir(parents=True)
    with pytest.raises(DataError, match=f"use folder:{tmp_path}/svhn/test"):
        load("svhn", root=tmp_path)


def test_a_pickle_that_is_not_the_published_one_is_never_opened(torchvision, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("executed",))

    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    for name in ("test_batch", "batches.meta", *(f"data_batch_{k}" for k in range(1, 6))):
        (base / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="not found under"):
        load("cifar10", root=tmp_path)


def test_a_small_data_set_of_files_is_read_in_rgb(torchvision, tmp_path):
    base = tmp_path / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for name, label in (("banded", 0), ("woven", 1)):
        (base / "images" / name).mkdir(parents=True)
        Image.fromarray(np.full((9, 12), 40 * label, np.uint8)).save(base / "images" / name / "1.jpg")
    (base / "labels" / "test1.txt").write_text("banded/1.jpg\nwoven/1.jpg\n")
    images = load("textures", root=tmp_path, image_size=8)
    batch = images.read([0, 1])
    assert batch.x.shape == (2, 3, 8, 8)
    assert batch.y.tolist() == [0, 1]
    assert images.labels.tolist() == [0, 1]
    assert images.classes == ("banded", "woven")
