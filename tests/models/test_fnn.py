"""The networks of He and Su: as many parameters as theirs, and what they compute, written out."""

import pytest
import torch
import torch.nn.functional as F

from flexure.errors import ArgumentError, SpecimenError
from flexure.models import NETS, resolve
from flexure.models.fnn import FNN, SkipFNN, fnn, fnn3, fnn_sigmoid
from flexure.models.mnist_cnn import MNISTCNN

POINT = {"image_size": (1, 3)}
COLOR = {"image_size": (32, 32), "channels": 3}


@pytest.mark.parametrize(
    ("build", "options", "count"),
    [
        (fnn, POINT, 204_801),
        (fnn, {}, 32_194_561),
        (fnn, COLOR, 125_911_041),
        (fnn_sigmoid, {}, 32_194_561),
        (fnn3, POINT, 67_158_017),
        (SkipFNN, {}, 20_000_769),
        (MNISTCNN, {}, 426_571),
    ],
)
def test_they_have_as_many_parameters_as_theirs(build, options, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(**options).parameters()) == count


def affine(layer, x):
    return x @ layer.weight.T + layer.bias


@pytest.mark.parametrize(("activation", "function"), [("relu", torch.relu), ("sigmoid", torch.sigmoid)])
def test_the_output_is_that_of_the_formula(activation, function):
    model = FNN([7, 6], image_size=(2, 3), activation=activation, probabilities=True).double()
    x = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    y = x.flatten(1)
    for name in ("linear1", "linear2"):
        y = function(affine(model.layers.get_submodule(name), y))
    torch.testing.assert_close(model(x), torch.sigmoid(affine(model.layers.linear3, y)))
    model.head = None
    torch.testing.assert_close(model(x), affine(model.layers.linear3, y))


def test_the_last_layer_of_the_network_with_a_skip_reads_both_hidden_layers():
    model = SkipFNN(image_size=(1, 3), width=0.002).double()
    x = torch.randn(5, 1, 1, 3, dtype=torch.float64)
    first = torch.relu(affine(model.linear1, x.flatten(1)))
    second = torch.relu(affine(model.linear2, first))
    torch.testing.assert_close(model(x), affine(model.linear3, first) + second @ model.linear3.weight.T)


def test_the_convolutional_network_is_that_of_the_example():
    model = MNISTCNN(width=0.2)
    x = torch.rand(2, 1, 28, 28)
    y = F.max_pool2d(F.relu(F.conv2d(x, model.conv1.weight, model.conv1.bias)), 2, 2)
    y = F.max_pool2d(F.relu(F.conv2d(y, model.conv2.weight, model.conv2.bias)), 2, 2)
    assert y.shape[2:] == (4, 4)
    torch.testing.assert_close(model(x), affine(model.fc2, F.relu(affine(model.fc1, y.flatten(1)))))


@pytest.mark.parametrize("name", ["fnn", "fnn3", "fnn_sigmoid", "fnn_skip"])
def test_by_name_they_take_points(name):
    specimen = resolve(name, channels=1, image_size=(1, 2), num_classes=1, width=0.01)
    assert specimen.model(torch.rand(4, 1, 1, 2)).shape == (4, 1)
    assert specimen.normalize is None and type(specimen.factory()) is type(specimen.model)


def test_what_cannot_be_built_or_shown_is_named():
    with pytest.raises(ArgumentError, match=r"no activation 'rleu'\. Did you mean 'relu'"):
        FNN([4], activation="rleu")
    with pytest.raises(SpecimenError, match="images need 16 pixels a side, or more; got 1×3"):
        NETS["mnist_cnn"].factory(image_size=(1, 3))
    for model in (fnn(**POINT, width=0.001), SkipFNN(**POINT, width=0.001), MNISTCNN(width=0.1)):
        with pytest.raises(SpecimenError, match=r"got 2×9×9\. Build it for those: resolve\(…"):
            model(torch.rand(1, 2, 9, 9))
