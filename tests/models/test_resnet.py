"""The small residual networks: names, sizes, shortcuts, and the weights others trained."""

import numpy as np
import pytest
import torch

from flexure.bench import mount
from flexure.data import FolderImages
from flexure.models import resolve
from flexure.models.resnet import Subsample, resnet20, resnet32, resnet44, resnet56


@pytest.mark.parametrize(("build", "n"), [(resnet20, 3), (resnet32, 5), (resnet44, 7), (resnet56, 9)])
def test_layers_and_parameters_are_those_of_the_paper(build, n):
    model = build()
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 6 * n + 2
    stages = 16, 32, 64
    convolutions = 27 * 16 + sum((2 * n - 1) * 9 * w * w for w in stages) + 9 * (16 * 16 + 16 * 32 + 32 * 64)
    norms = 2 * (16 + sum(2 * n * w for w in stages))
    assert sum(p.numel() for p in model.parameters()) == convolutions + norms + 64 * 10 + 10


def test_parameters_have_the_usual_names():
    names = [name for name, _ in resnet20().named_parameters()]
    assert names[:4] == ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight"]
    assert names[-2:] == ["linear.weight", "linear.bias"]
    assert not [name for name in names if "shortcut" in name]


def test_a_shortcut_takes_every_second_pixel_and_adds_zero_channels_at_both_ends():
    x = torch.arange(2 * 4 * 4.0).view(1, 2, 4, 4)
    y = Subsample(2)(x)
    assert y.shape == (1, 4, 2, 2)
    assert not y[:, [0, 3]].any()
    assert torch.equal(y[:, 1:3], x[:, :, ::2, ::2])


def test_any_image_size_channels_and_number_of_classes():
    model = resnet20(num_classes=7, channels=1).eval()
    assert model(torch.rand(2, 1, 40, 28)).shape == (2, 7)


def accuracy_on_the_first(n: int, weights, root) -> float:
    images = FolderImages(root / "cifar10" / "test")
    positions = np.concatenate([np.flatnonzero(images.labels == label)[:n] for label in range(10)])
    right = 0
    with mount(resolve("resnet20", weights=weights)) as mounted:
        for part in np.array_split(positions, -(-len(positions) // 200)):
            batch = images.read(part.tolist())
            right += int((mounted.forward(mounted.normalized(batch.x)).argmax(1) == batch.y).sum())
    return right / len(positions)


def test_trained_weights_classify_real_images(real_data, trained_resnet20):
    assert accuracy_on_the_first(20, trained_resnet20, real_data) == pytest.approx(0.80, abs=0.011)


@pytest.mark.slow
def test_trained_weights_reach_the_accuracy_measured_elsewhere(real_data, trained_resnet20):
    assert accuracy_on_the_first(200, trained_resnet20, real_data) == pytest.approx(0.813, abs=0.002)
