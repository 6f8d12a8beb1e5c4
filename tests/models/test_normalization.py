"""Normalizations by name and by hand."""

import pytest

from flexure.errors import ArgumentError
from flexure.models import as_normalization


def test_names():
    assert as_normalization("imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert as_normalization("cifar10")[1] == (0.2023, 0.1994, 0.2010)
    assert as_normalization("none") is None


@pytest.mark.parametrize("given", ["0.5,0.4,0.3/0.2,0.2,0.1", ([0.5, 0.4, 0.3], (0.2, 0.2, 0.1))])
def test_numbers_per_channel(given):
    assert as_normalization(given) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))


def test_one_number_for_all_channels():
    assert as_normalization("0.5/0.25") == as_normalization((0.5, 0.25)) == ((0.5,), (0.25,))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("cifar", "no normalization 'cifar'. Did you mean 'cifar10'.*Or MEAN/STD"),
        ("0.5,0.5/0.2", "2 means, but 1 standard deviations"),
        ("0.5/0", "every standard deviation must be > 0"),
        ("half/0.2", "'half' is not numbers"),
        ("0.5/0.2/0.1", "'0.2/0.1' is not numbers"),
    ],
)
def test_what_makes_no_sense_is_refused(given, words):
    with pytest.raises(ArgumentError, match=words):
        as_normalization(given)
