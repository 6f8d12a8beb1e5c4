"""Other descriptions of images: what they hold, in which order, of which images."""

import numpy as np
import pytest
import torch
from torch import nn

from flexure import Specimen
from flexure.analysis.autoencoder import encode
from flexure.analysis.baselines import baselines
from flexure.analysis.cluster import cluster
from flexure.errors import ArgumentError, DataError


class Net(nn.Module):
    """A convolution whose output the next op overwrites, and a block."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))

    def forward(self, x):
        return self.head(self.relu(self.conv(x)))


def images(n=20, side=4, seed=0):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))


def test_pixels_are_the_images_and_principal_components_keep_their_distances():
    x = images()
    found = baselines(x)
    assert list(found) == ["pixels", "pca"]
    np.testing.assert_array_equal(found["pixels"], x.flatten(1).numpy())
    assert found["pca"].shape == (20, 16)
    distances = [np.linalg.norm(rows[:, None] - rows[None], axis=2) for rows in found.values()]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-5)


def test_few_components_are_those_of_largest_variance():
    x = images().flatten(1).numpy().astype(float)
    few = baselines(images().double(), components=3)["pca"]
    values = np.linalg.svd(x - x.mean(0), compute_uv=False)
    np.testing.assert_allclose((few**2).sum(0), values[:3] ** 2, rtol=1e-5)
    assert list(baselines(images(), components=0)) == ["pixels"]


@pytest.mark.parametrize("batch_size", [3, 256])
def test_layers_are_described_by_what_they_emit_before_the_next_op_overwrites_it(batch_size):
    torch.manual_seed(0)
    net, x = Net(), images()
    found = baselines(x, Specimen(net, normalize=(0.5, 0.25)), layers=["conv", "relu"], batch_size=batch_size)
    assert list(found) == ["pixels", "pca", "layer:conv", "layer:relu", "layer:output"]
    with torch.no_grad():
        emitted = net.conv((x - 0.5) / 0.25)
        expected = {"conv": emitted, "relu": emitted.relu(), "output": net.head(emitted.relu())}
    for name, value in expected.items():
        np.testing.assert_allclose(found[f"layer:{name}"], value.flatten(1).numpy(), rtol=1e-4, atol=1e-5)
        assert found[f"layer:{name}"].dtype == np.float32


def test_blocks_and_other_arithmetic_can_be_asked_for():
    torch.manual_seed(0)
    net = nn.Sequential(Net(), nn.Identity())
    found = baselines(images(), net, layers="blocks", dtype="float64")
    assert [name for name in found if name.startswith("layer:")] == ["layer:0", "layer:output"]
    assert found["layer:0"].dtype == np.float64
    assert net[0].conv.weight.dtype == torch.float32


def test_images_that_cannot_be_used_have_no_row():
    x = images()
    x[[4, 9], 0, 0, 0] = torch.tensor([torch.nan, torch.inf])
    found = baselines(x, Net(), layers="conv", batch_size=7)
    rest = np.delete(np.arange(20), [4, 9])
    np.testing.assert_array_equal(found["pixels"], x.flatten(1).numpy()[rest])
    assert {len(rows) for rows in found.values()} == {18}
    with pytest.raises(DataError, match="1 of its 20 images can be used; at least 2 are needed"):
        baselines(torch.where(torch.arange(20)[:, None, None, None] == 3, x, torch.nan))


def test_they_are_clustered_beside_a_similarity():
    x, labels = images(), np.repeat([0, 1], 10)
    x[10:, :, :2] += 2
    pixels = x.flatten(1).numpy()
    found = cluster(pixels @ pixels.T, labels=labels, features=baselines(x, Net(), layers="conv"))
    assert list(found["similarity"]) == ["kernel", "pixels", "pca", "layer:conv", "layer:output"]
    assert list(found["accuracy"][:4]) == [1, 1, 1, 1]
    assert found["objective"][0] == pytest.approx(found["objective"][1], rel=1e-5)  # the kernel of the pixels
    assert found["objective"][2] == pytest.approx(found["objective"][1], rel=1e-5)  # all components


def test_the_autoencoder_is_asked_by_epochs():
    x = images(6, side=16)
    np.testing.assert_array_equal(baselines(x, autoencoder=2, seed=3)["autoencoder"], encode(x, epochs=2, seed=3))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": "conv"}, "layers are those of a network; give the specimen too"),
        ({"specimen": Net(), "layers": "cnv"}, "no layer and no kind matches 'cnv'. Did you mean 'conv'"),
        ({"components": -1}, "components must be a whole number of at least 0; got -1"),
        ({"autoencoder": True, "batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"autoencoder": 5}, "images are 4×4; its two poolings need at least 16×16"),
    ],
)
def test_wrong_arguments_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        baselines(images(), **options)
