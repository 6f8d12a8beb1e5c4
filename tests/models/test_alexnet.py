"""The AlexNet for small images: its size, and dropout that evaluation switches off."""

import torch
from torch import nn

from flexure.models.alexnet import AlexNet


def test_parameters_are_those_of_the_definition():
    with torch.device("meta"):
        model = AlexNet()
    sizes = [(3, 64), (64, 192), (192, 384), (384, 256), (256, 256)]
    convolutions = sum(9 * before * after + after for before, after in sizes)
    linear = sum(before * after + after for before, after in [(256 * 2 * 2, 4096), (4096, 4096), (4096, 10)])
    assert sum(p.numel() for p in model.parameters()) == convolutions + linear


def test_five_strides_leave_two_by_two_of_an_image():
    assert AlexNet(width=0.1).features(torch.rand(1, 3, 32, 32)).shape[-2:] == (2, 2)


def test_dropout_stands_before_the_first_two_linear_layers():
    kinds = [type(module) for module in AlexNet(width=0.1).classifier]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
