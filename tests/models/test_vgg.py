"""The VGG networks: sizes from their definition, names as in others' weights files."""

import pytest
import torch
from torch import nn

from flexure.models.vgg import vgg11, vgg11bn, vgg13, vgg13bn, vgg16, vgg16bn, vgg19, vgg19bn

STAGES = {
    11: [64, 128, 256, 256, 512, 512, 512, 512],
    13: [64, 64, 128, 128, 256, 256, 512, 512, 512, 512],
    16: [64, 64, 128, 128, *[256] * 3, *[512] * 6],
    19: [64, 64, 128, 128, *[256] * 4, *[512] * 8],
}


def expected(layers: int, batch_norm: bool) -> int:
    widths = STAGES[layers]
    convolutions = sum(9 * before * after + after for before, after in zip([3, *widths], widths, strict=False))
    return convolutions + 2 * sum(widths) * batch_norm + 512 * 10 + 10


@pytest.mark.parametrize(
    ("build", "layers", "batch_norm"),
    [
        (vgg11, 11, False),
        (vgg11bn, 11, True),
        (vgg13, 13, False),
        (vgg13bn, 13, True),
        (vgg16, 16, False),
        (vgg16bn, 16, True),
        (vgg19, 19, False),
        (vgg19bn, 19, True),
    ],
)
def test_parameters_are_those_of_the_definition(build, layers, batch_norm):
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == expected(layers, batch_norm)
    assert sum(isinstance(module, nn.MaxPool2d) for module in model.modules()) == 5


def test_the_best_known_one_has_the_number_others_count():
    assert expected(11, True) == 9_231_114


def test_parameters_have_the_usual_names():
    names = [name for name, _ in vgg11bn(width=0.1).named_parameters()]
    assert names[:4] == ["features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias"]
    assert names[4] == "features.4.weight"
    assert names[-2:] == ["classifier.weight", "classifier.bias"]
