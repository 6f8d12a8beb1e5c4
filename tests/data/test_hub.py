"""Hugging Face data sets, from a local folder: needs the optional package."""

import socket

import numpy as np
import pytest
from PIL import Image

from flexure import ecosystem
from flexure.data import load
from flexure.errors import DataError, MissingPackageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    try:
        ecosystem.datasets()
    except MissingPackageError as wrong:
        pytest.skip(str(wrong))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, value in (("ant", 0), ("bee", 200)):
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        Image.fromarray(np.full((6, 6), value, np.uint8)).save(tmp_path / "data" / "test" / name / "0.png")
    return tmp_path / "data"


def test_images_and_labels_come_from_their_columns(folder):
    images = load(f"hub:{folder}", split="test")
    batch = images.read([0, 1])
    assert batch.x.shape == (2, 3, 6, 6)
    assert batch.y.tolist() == [0, 1]
    assert images.classes == ("ant", "bee")
    assert images.labels.tolist() == [0, 1]


def test_a_missing_split_is_named(folder):
    with pytest.raises(DataError, match="split 'nope': cannot be loaded"):
        load(f"hub:{folder}", split="nope")


def test_what_is_not_there_is_said_to_be_missing(folder):
    with pytest.raises(DataError, match=r"cannot be loaded.*--download"):
        load(f"hub:{folder}/nowhere")


def test_nothing_is_asked_over_the_network_unless_it_may_be_fetched(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address, *rest: asked.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **options: asked.append(address) or [])
    with pytest.raises(DataError, match=r"hub:nobody/nothing, split 'test': cannot be loaded.*--download"):
        load("hub:nobody/nothing")
    assert not asked


def test_a_table_without_pictures_is_refused_with_its_columns(folder, tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column of images; it has a, b"):
        load(f"hub:{tmp_path / 'table'}")
