"""What a specimen takes, and the words for what it does not."""

import dataclasses

import gauge
import numpy as np
import pytest
import torch
from torch import nn

from flexure import Specimen
from flexure.errors import ArgumentError


def test_a_bare_module_becomes_a_specimen_and_a_specimen_stays_itself():
    specimen = Specimen.of(nn.Identity())
    assert (specimen.name, specimen.normalize, specimen.bounds, specimen.output) == ("Identity", None, None, None)
    assert Specimen.of(specimen) is specimen
    assert Specimen(nn.Identity(), name="mine").name == "mine"


@pytest.mark.parametrize(
    "normalize",
    [
        (0.5, 0.25),
        ([0.5], [0.25]),
        [np.float32(0.5), np.array([0.25])],
        (torch.tensor(0.5), torch.tensor([0.25])),
        np.array([[0.5], [0.25]]),
    ],
)
def test_statistics_are_kept_as_plain_numbers(normalize):
    mean, std = Specimen(nn.Identity(), normalize=normalize).normalize
    assert (mean, std) == ((0.5,), (0.25,))
    assert type(mean[0]) is type(std[0]) is float


def test_pairs_are_kept_as_tuples():
    specimen = Specimen(nn.Identity(), bounds=[0, 1], image_size=[np.int64(8), 6])
    assert (specimen.bounds, specimen.image_size) == ((0, 1), (8, 6))
    assert type(specimen.image_size[0]) is int


def test_a_specimen_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Specimen(nn.Identity()).bounds = (0, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"normalize": "imagenet"}, r"normalize must be a pair \(mean, std\); got 'imagenet'"),
        ({"normalize": 0.5}, r"normalize must be a pair \(mean, std\); got 0.5"),
        ({"normalize": (0.5, 0.5, 0.5)}, r"normalize must be a pair \(mean, std\)"),
        ({"normalize": ("gray", 0.5)}, r"normalize takes numbers, one per channel; got 'gray'"),
        ({"normalize": ([[0.5]], 0.5)}, r"takes numbers, one per channel; got \[\[0.5\]\]"),
        ({"normalize": ((0.5, 0.5, 0.5), 0.5)}, r"normalize holds 3 means and 1 standard deviations"),
        ({"normalize": ((), ())}, r"normalize holds 0 means and 0 standard deviations"),
        ({"normalize": (0.5, 0.0)}, r"every standard deviation in normalize must be > 0 .* got \(\(0.5,\), \(0.0,\)\)"),
        ({"normalize": ((0.5, 0.5), (1.0, float("nan")))}, r"every standard deviation in normalize must be > 0"),
        ({"normalize": (float("inf"), 1.0)}, r"every mean finite"),
        ({"bounds": (1, 0)}, r"bounds must be \(low, high\) with low < high; got \(1, 0\)"),
        ({"bounds": (0, float("nan"))}, r"low < high"),
        ({"bounds": (0,)}, r"bounds must be a pair \(low, high\); got \(0,\)"),
        ({"bounds": "01"}, r"bounds must be a pair \(low, high\); got '01'"),
        ({"bounds": 1}, r"bounds must be a pair \(low, high\); got 1"),
        ({"image_size": 224}, r"image_size must be a pair \(height, width\); got 224"),
        ({"image_size": (0, 8)}, r"image_size must be \(height, width\) in pixels; got \(0, 8\)"),
        ({"image_size": (8.5, 8)}, r"image_size must be \(height, width\) in pixels"),
        ({"factory": nn.Identity()}, r"factory must build the network when called; got Identity"),
        ({"factory": 3}, r"factory must build the network when called; got int"),
        ({"task": "clasification"}, r"no task 'clasification'. Did you mean 'classification'\? Valid: .*features"),
    ],
)
def test_wrong_options_are_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words) as refused:
        Specimen(nn.Identity(), **options)
    assert str(refused.value).startswith("Specimen: ")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (gauge.ResidualNet, r"model must be a torch.nn.Module; got the class ResidualNet, not an object of it"),
        ("resnet18", r"model must be a torch.nn.Module; got str"),
        (torch.relu, r"got builtin_function_or_method"),
    ],
)
def test_what_is_no_network_is_refused(model, words):
    with pytest.raises(ArgumentError, match=words):
        Specimen.of(model)
