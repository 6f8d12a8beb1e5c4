"""Names are checked first, and the message holds the nearest."""

import numpy as np
import pytest

from flexure import ecosystem
from flexure.data import check_name, content_hash, load, names
from flexure.errors import ArgumentError, DataError, MissingPackageError


@pytest.mark.parametrize("name", [*names(), "hub:someone/something", "hub:x"])
def test_every_name_passes_the_check(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digit", "no data set 'digit'. Did you mean 'digits'"),
        ("cifar-10", "Did you mean 'cifar10'"),
        ("MNIST", "Valid: .*mnist"),
        ("", "no data set ''"),
        ("folder:", "nothing after the colon; say folder:PATH"),
        ("hub:", "nothing after the colon"),
        ("floder:/tmp", "no data set 'floder:/tmp'.*folder:PATH"),
    ],
)
def test_a_wrong_name_is_refused_with_the_nearest(name, words):
    with pytest.raises(ArgumentError, match=words):
        check_name(name)


def test_a_folder_without_its_prefix_is_told_how_to_be_used(tmp_path):
    with pytest.raises(ArgumentError, match=f"{tmp_path} is a folder: use folder:{tmp_path}"):
        check_name(str(tmp_path))


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        check_name(f"folder:{tmp_path}/nowhere")


def test_a_wrong_split_is_refused():
    with pytest.raises(ArgumentError, match=r"no split 'tset'\. Did you mean 'test'"):
        load("mnist", split="tset")


@pytest.mark.parametrize("options", [{"limit": 0}, {"image_size": 0}])
def test_numbers_are_checked_before_anything_is_read(options, tmp_path):
    with pytest.raises(ArgumentError, match=f"{next(iter(options))} must be"):
        load("mnist", root=tmp_path / "not there", **options)


def test_a_sample_is_repeatable_and_its_seed_matters():
    one, again, other = (load("digits8", limit=50, seed=seed) for seed in (0, 0, 1))
    assert content_hash(one) == content_hash(again) != content_hash(other)
    assert np.bincount(one.labels).tolist() == [5] * 10


def test_without_torchvision_the_message_says_how_to_get_it_and_what_else_would_do(monkeypatch, tmp_path):
    def missing():
        raise MissingPackageError('torchvision is needed, which is not installed: pip install "flexure[vision]"')

    monkeypatch.setattr(ecosystem, "torchvision", missing)
    (tmp_path / "cifar10" / "test" / "cat").mkdir(parents=True)
    with pytest.raises(MissingPackageError, match=rf"pip install.*use folder:{tmp_path}/cifar10/test"):
        load("cifar10", root=tmp_path)


def test_nothing_is_fetched_unless_asked_for(monkeypatch, tmp_path):
    fetched = []

    class Vision:
        class datasets:
            @staticmethod
            def MNIST(root, download):
                fetched.append((root, download))

    monkeypatch.setattr(ecosystem, "torchvision", lambda: Vision)
    with pytest.raises(DataError, match="no t10k"):
        load("mnist", root=tmp_path)
    assert not fetched
    with pytest.raises(DataError, match="no t10k"):
        load("mnist", root=tmp_path, download=True)
    assert fetched == [(str(tmp_path), True)]
