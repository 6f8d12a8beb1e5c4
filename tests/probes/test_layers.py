"""The list of layers: what it shows of real small networks, and what it asks for where it cannot know."""

import gauge
import pytest
import torch
from torch import nn

import flexure
from flexure import Specimen
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.models import resolve
from flexure.probes.layers import layers
from flexure.recorder import SelfReporting


def rows(*args, **options):
    """The table by layer."""
    return layers(*args, **options).to_frame().set_index("layer")


def test_a_row_per_op_and_the_output_last():
    found = rows(gauge.seeded(gauge.ResidualNet), shape=(3, 8, 6))
    assert list(found.columns) == ["kind", "shape", "features", "dtype", "parameters", "status"]
    assert found.index[-1] == "output" and found.index.is_unique
    assert found.loc["conv1"].tolist() == ["Conv2d", "4×8×6", 192, "float32", 108, "measured"]
    assert found.loc["layer1.0.add"].tolist() == ["add", "4×8×6", 192, "float32", 0, "measured"]
    assert found.loc["fc"].tolist() == ["Linear", "10", 10, "float32", 90, "measured"]
    assert found.loc["output"].tolist() == ["output", "10", 10, "float32", 0, "measured"]


def test_every_parameter_is_counted_once():
    model = gauge.seeded(gauge.ResidualNet)
    assert rows(model, shape=(3, 8, 8))["parameters"].sum() == sum(p.numel() for p in model.parameters())


def test_layers_with_awkward_names_keep_their_parameters():
    model = gauge.Calls(lambda net, x: net.output(x), output=nn.Conv2d(4, 2, 1))
    found = rows(model, shape=(3, 8, 8))
    assert (found.loc["output_1", "parameters"], found.loc["output", "parameters"]) == (10, 0)
    assert rows(nn.Conv2d(3, 2, 1), shape=(3, 8, 8)).loc["conv2d", "parameters"] == 8


def test_a_transformer_with_class_token():
    found = rows(gauge.seeded(gauge.PatchTransformer), shape=(3, 8, 8))
    assert found.loc["patches", "shape"] == "8×2×2"
    assert found.loc[["cat", "norm1", "attention", "mlp.2", "add_2"], "shape"].tolist() == 5 * ["5×8"]
    assert found.loc["attention.1", "shape"] == "5×5"
    assert found.loc["expand", "status"] == found.loc["getitem", "status"] == "measured"
    assert found.loc["attention", "kind"] == "MultiheadAttention"
    assert found.loc["attention", "parameters"] == sum(
        p.numel() for p in gauge.PatchTransformer().attention.parameters()
    )


@pytest.mark.parametrize(
    ("name", "layer", "shape"), [("resnet20", "layer3.2.add", "64×8×8"), ("lenet5", "output", "10")]
)
def test_our_own_nets_tell_their_images(name, layer, shape):
    found = rows(resolve(name))
    assert found.loc[layer, "shape"] == shape
    assert set(found["status"]) == {"measured"}


def test_blocks_in_place_of_ops():
    found = rows(gauge.seeded(gauge.ResidualNet), shape=(3, 8, 8), blocks=True)
    assert found.index.tolist() == ["layer1.0", "layer1.1", "output"]
    assert found.loc["layer1.0", "parameters"] == 2 * 4 * 4 * 9 + 16


def test_reasons_are_given_op_by_op():
    def then(net, x):
        return x.flatten(2).permute(2, 0, 1).mul(2).mean(0), (x > 0).sum()

    found = rows(Specimen(gauge.Calls(then), output=0), shape=(3, 8, 8))["status"]
    assert found["mul"] == "first dimension is 64, not the batch"
    assert (found["gt"], found["sum"]) == ("not floating point", "not floating point")
    assert found["output"] == "measured"


def test_given_images_are_used():
    data = torch.utils.data.TensorDataset(gauge.images(6, (3, 12, 8)), torch.zeros(6, dtype=torch.int64))
    result = layers(gauge.seeded(gauge.ResidualNet), data)
    assert result.to_frame().set_index("layer").loc["conv1", "shape"] == "4×12×8"
    assert result.provenance["data"]["shape"] == [3, 12, 8]
    assert rows(gauge.seeded(gauge.ResidualNet), gauge.images(1)).loc["output", "status"] == "measured"


def test_precision_is_as_asked():
    assert set(rows(gauge.seeded(gauge.linear), shape=(3, 8, 8), dtype="float64")["dtype"]) == {"float64"}


def test_noise_lies_within_the_bounds_and_is_normalized():
    seen = []
    model = gauge.Calls(lambda net, x: seen.append(x) or x)
    model.conv = nn.Identity()
    layers(Specimen(model, bounds=(-2, 6), normalize=((1, 1, 1), (2, 2, 2))), shape=(3, 40, 40))
    assert -1.5 <= seen[0].min() < -1.49 and 2.49 < seen[0].max() <= 2.5


def test_the_specimen_tells_what_images_it_takes():
    sized = {"image_size": (8, 8)}
    assert rows(Specimen(gauge.seeded(gauge.ResidualNet), **sized)).loc["mul", "shape"] == "3×8×8"
    by_normalization = Specimen(gauge.seeded(gauge.linear), normalize=((0, 0, 0), (1, 1, 1)), **sized)
    assert rows(by_normalization).loc["0", "shape"] == "192"

    class Graph(SelfReporting):
        image_shape = (3, None, None)

        def forward(self, x):
            return x.flatten(1)

    assert rows(Specimen(Graph(), **sized)).loc["output", "features"] == 192


@pytest.mark.parametrize(
    "specimen",
    [gauge.ResidualNet(), Specimen(gauge.linear(), image_size=(8, 8)), Specimen(nn.Identity(), normalize=(0.5, 0.5))],
)
def test_a_specimen_that_does_not_tell_is_asked_for_data_or_shape(specimen):
    words = r"^layers: \w+ does not tell what images it takes. Give data, or shape=\(channels, height, width\)"
    with pytest.raises(ArgumentError, match=words):
        layers(specimen)


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 0), (3, 8, 8.0), (1, 3, 8, 8)])
def test_shapes_that_are_none(shape):
    with pytest.raises(
        ArgumentError, match=r"layers: shape must be \(channels, height, width\), whole numbers > 0; got \("
    ):
        layers(gauge.ResidualNet(), shape=shape)


def test_a_network_that_needs_the_statistics_of_its_batch():
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten())
    with pytest.raises(SpecimenError, match=r"at '0' \(BatchNorm2d\), .*measure with batch_norm='batch'"):
        layers(model, shape=(3, 8, 8))
    assert set(rows(model, shape=(3, 8, 8), batch_norm="batch")["status"]) == {"measured"}
    with pytest.raises(ArgumentError, match=r"layers: no batch_norm 'bach'. Did you mean 'batch'\?"):
        layers(model, shape=(3, 8, 8), batch_norm="bach")


def test_images_that_cannot_be_read():
    class Broken(torch.utils.data.Dataset):
        classes = None

        def __len__(self):
            return 5

        def __getitem__(self, position):
            if position < 4:
                raise OSError("truncated")
            return gauge.images(1)[0], 0

    with pytest.raises(DataError, match=r"Broken: none of its first 4 images can be used: item 0 of Broken: truncated"):
        layers(gauge.ResidualNet(), Broken())


def test_the_same_every_time_and_in_the_window():
    model = gauge.seeded(gauge.ResidualNet)
    assert flexure.layers is layers
    assert layers(model, shape=(3, 8, 8)).to_frame().equals(layers(model, shape=(3, 8, 8)).to_frame())
