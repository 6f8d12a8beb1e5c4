"""The simple network against its definition written out, and its filters made constant against path counts."""

import math

import pytest
import torch
from reference.paths import layers

import flexure
from flexure import Specimen
from flexure.errors import ArgumentError
from flexure.models import NETS, reinitialized
from flexure.models.simple_cnn import NTKConv2d, SimpleCNN, conv_gap, homogeneous
from flexure.recorder import Recorder


def seeded(seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimpleCNN(**options).eval()


def written_out(net, x, alpha):
    """The definition for images ``(b, C, 1, L)`` of one row, channel by channel and place by place."""
    y = x[:, :, 0].double()
    for number, (kernel, stride) in enumerate(zip(net.kernels, net.strides, strict=True), 1):
        conv = net.get_submodule(f"conv{number}")
        w, b = conv.weight.double()[:, :, 0], conv.bias.double()
        length, channels = y.shape[-1], y.shape[1]
        z = torch.zeros(len(y), len(w), -(-length // stride), dtype=torch.float64)
        for u in range(z.shape[-1]):
            for t in range(kernel):
                place = (u * stride + t - (kernel - 1) // 2) % length
                z[:, :, u] += y[:, :, place] @ w[:, :, t].T / math.sqrt(channels * kernel)
        y = math.sqrt(kernel) * (z + b[:, None]).clamp(min=0)
    beta, offset = net.readout.weight.double(), net.readout.bias.double()
    return alpha * (y.mean(2) @ beta.T / beta.shape[1] + offset)


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 3},
        {"depth": 3, "released": True},
        {"depth": 2, "kernel": 3, "strides": 1, "alpha": 2.5},
        {"kernel": [2, 3, 4], "strides": [2, 1, 3], "num_classes": 3, "channels": 2},
        {"depth": 6, "kernel": 5, "strides": 2},
    ],
)
def test_the_output_is_the_definition_written_out(options):
    net = seeded(hidden=5, **options)
    x = torch.randn(4, options.get("channels", 1), 1, 16, generator=torch.Generator().manual_seed(1))
    found = net.double()(x.double())
    torch.testing.assert_close(found, written_out(net, x, options.get("alpha", 1.0)), rtol=1e-12, atol=1e-12)


def test_the_network_of_the_paper_ends_in_a_map_of_length_one():
    with torch.device("meta"):
        net = SimpleCNN()
        maps = torch.nn.Sequential(*list(net.children())[:14])
        assert maps(torch.empty(2, 1, 1, 128)).shape == (2, 1000, 1, 1)
        released = torch.nn.Sequential(*list(SimpleCNN(released=True).children())[:14])
        assert released(torch.empty(2, 1, 1, 128)).shape == (2, 1000, 1, 64)
    assert len(net.kernels) == 7 and set(net.kernels) == {2}


def test_weights_and_biases_start_as_standard_normal():
    net = seeded(hidden=60, depth=3)
    numbers = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert abs(numbers.mean()) < 4 / math.sqrt(len(numbers))
    assert abs(numbers.std() - 1) < 4 / math.sqrt(2 * len(numbers))


def test_strides_as_released():
    assert SimpleCNN(hidden=4, depth=4, released=True).strides == (2, 1, 1, 1)
    assert SimpleCNN(hidden=4, depth=6, dimensions=2, released=True).strides == (1, 1, 2, 1, 2, 1)
    assert conv_gap(width=0.02).strides == (2, 2, 2, 2)


def test_its_convolutions_are_chosen_as_convolutions():
    net, images = seeded(hidden=4, depth=2, dimensions=2), torch.rand(9, 1, 8, 8)
    named = flexure.filters(net)["layer"].tolist()
    assert flexure.filters(net, layers="Conv2d")["layer"].tolist() == named
    assert flexure.sensitivity(net, images, layers="Conv2d")["layer"].tolist() == [*named, "output"]


def test_every_layer_is_one_op_with_a_plain_name():
    seen = []
    with torch.no_grad(), Recorder(net := seeded(hidden=4, depth=2), lambda e: seen.append(e.name)) as recorder:
        recorder.begin()
        net(torch.rand(2, 1, 1, 8))
    assert seen == ["conv1", "relu1", "conv2", "relu2", "pool", "flatten", "readout"]


def test_fresh_weights_can_be_drawn_from_the_network_itself():
    fresh = reinitialized(Specimen(seeded(hidden=4)), 1)
    assert isinstance(fresh, SimpleCNN)
    assert not any(torch.equal(a, b) for a, b in zip(fresh.parameters(), seeded(hidden=4).parameters(), strict=True))


def test_its_filters_are_convolutions_to_the_probe_of_filters():
    found = flexure.filters(seeded(hidden=4, depth=2, kernel=3))
    assert set(found["layer"]) == {"conv1", "conv2"}
    assert all(isinstance(m, NTKConv2d) for m in seeded(hidden=4).children() if isinstance(m, torch.nn.Conv2d))


def test_a_ring_turned_by_the_product_of_strides_gives_the_same_output():
    net = seeded(hidden=6, depth=3).double()
    x = torch.rand(2, 1, 1, 32, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(net(x.roll(8, 3)), net(x), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(net(x.roll(1, 3)), net(x))


@pytest.mark.parametrize(("kernel", "strides"), [(2, 2), (3, 1), (4, 2), (3, 2), ([2, 5, 3], [1, 2, 2])])
def test_constant_filters_add_up_paths(kernel, strides):
    net = homogeneous(SimpleCNN(hidden=1, depth=3, kernel=kernel, strides=strides, bias=False)).double()
    x = torch.rand(1, 32, generator=torch.Generator().manual_seed(0)).double()
    y = x.view(1, 1, 1, 32)
    for number, expected in enumerate(layers(x, net.kernels, net.strides), 1):
        y = net.get_submodule(f"relu{number}")(net.get_submodule(f"conv{number}")(y))
        torch.testing.assert_close(y.flatten(), expected.flatten(), rtol=1e-12, atol=0)


def test_constant_filters_in_two_dimensions_add_up_paths_along_both_axes():
    net = homogeneous(SimpleCNN(hidden=1, depth=2, kernel=3, strides=2, dimensions=2, bias=False)).double()
    x = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)).double()
    y = x.view(1, 1, 8, 8)
    for number, expected in enumerate(layers(x, net.kernels, net.strides), 1):
        y = net.get_submodule(f"relu{number}")(net.get_submodule(f"conv{number}")(y))
        torch.testing.assert_close(y[0, 0], expected, rtol=1e-12, atol=0)


def test_the_tables_names_build_both():
    assert NETS["simple_cnn"].factory(width=0.01).dimensions == 1
    assert NETS["conv_gap"].factory(width=0.02, num_classes=2)(torch.rand(1, 1, 28, 28)).shape == (1, 2)
    assert flexure.resolve("Simple_CNN", num_classes=1, width=0.01).image_size == (1, 128)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": 3}, "dimensions must be 1 or 2; got 3"),
        (
            {"kernel": [2, 2], "strides": [2]},
            r"lists of kernels and strides as long; got depth 2 and lists of \[2, 1\]",
        ),
        ({"depth": 0}, "depth must be at least 1"),
        ({"kernel": 0}, "kernel must be whole numbers, at least 1; got 0"),
        ({"strides": 1.5}, "strides must be whole numbers"),
        ({"width": 0}, "width is a factor"),
    ],
)
def test_what_is_no_network_is_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words):
        SimpleCNN(hidden=4, **options)
