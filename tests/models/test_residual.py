"""The residual networks with ImageNet's stages: sizes, names and shortcuts."""

import pytest
import torch

from flexure.models.residual import BasicBlock, resnet18, resnet34, resnet50


@pytest.mark.parametrize(
    ("build", "parameters", "layers"),
    [(resnet18, 11_173_962, 18), (resnet34, 21_282_122, 34), (resnet50, 23_520_842, 50)],
)
def test_parameters_and_layers_are_those_of_the_definition(build, parameters, layers):
    with torch.device("meta"):
        model = build()
    assert sum(p.numel() for p in model.parameters()) == parameters
    weighted = [name for name, p in model.named_parameters() if p.ndim > 1 and "shortcut" not in name]
    assert len(weighted) == layers


def test_parameters_have_the_usual_names():
    names = [name for name, _ in resnet18(width=0.1).named_parameters()]
    assert names[:4] == ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight"]
    assert "layer2.0.shortcut.0.weight" in names
    assert "layer2.0.shortcut.1.bias" in names
    assert not [name for name in names if name.startswith("layer1") and "shortcut" in name]
    assert names[-2:] == ["linear.weight", "linear.bias"]


def test_a_bottleneck_strides_in_its_middle_convolution():
    block = resnet50(width=0.1).layer2[0]
    assert [block.conv1.stride, block.conv2.stride, block.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_a_block_that_computes_nothing_is_its_rectified_shortcut():
    block = BasicBlock(4, 4, 1).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x.relu())
