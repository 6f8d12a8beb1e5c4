"""Channels shuffled: each filter stays, between other channels; the network is what it was."""

import copy

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn
from torch import nn

from flexure.errors import ArgumentError
from flexure.models import Exported
from flexure.perturb.channels import ChannelShuffle, orders, permuted

KINDS = {
    "plain": {"outputs": 6, "inputs": 4},
    "grouped": {"outputs": 6, "inputs": 8, "groups": 2},
    "transposed": {"outputs": 6, "inputs": 4, "transposed": True},
    "transposed and grouped": {"outputs": 6, "inputs": 9, "groups": 3, "transposed": True},
}


def convolution(outputs, inputs, groups=1, transposed=False):
    build = nn.ConvTranspose2d if transposed else nn.Conv2d
    torch.manual_seed(0)
    return build(inputs, outputs, 3, padding=1, groups=groups).double().requires_grad_(False)


def shuffled(model, x, **options):
    with ChannelShuffle(model, seed=0, **options) as shuffle, torch.no_grad():
        return model(x), shuffle


# The permutations


@pytest.mark.parametrize("scope", ["shared", "per_output"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_a_permutation_of_the_inputs_of_a_group(kind, scope):
    about = KINDS[kind]
    groups, outputs, inputs = about.get("groups", 1), about["outputs"], about["inputs"]
    weight = convolution(**about).weight
    found = orders(
        weight.shape, groups=groups, transposed=about.get("transposed", False), scope=scope, seed=0, number=0
    )
    assert found.shape == (groups if scope == "shared" else outputs, inputs // groups)
    assert torch.equal(found.sort(1)[0], torch.arange(inputs // groups).expand_as(found))
    assert len({tuple(row.tolist()) for row in found}) > 1 or len(found) == 1


def test_a_permutation_depends_on_seed_layer_and_draw():
    def drawn(**changes):
        return orders((1, 64, 3, 3), **{"seed": 0, "number": 0, "draw": 0, **changes}).tolist()

    assert drawn() == drawn()
    assert len({str(drawn(**changes)) for changes in ({}, {"seed": 1}, {"number": 1}, {"draw": 1})}) == 4


def test_permutations_are_uniform():
    first = [int(orders((1, 4, 1, 1), seed=0, number=0, draw=draw)[0, 0]) for draw in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert np.abs(counts - 500).max() <= 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_an_unknown_scope_is_refused_with_the_valid_ones():
    with pytest.raises(ArgumentError, match=r"channel shuffle: no scope 'per_outptu'. Did you mean 'per_output'\?"):
        orders((4, 4, 3, 3), scope="per_outptu", seed=0, number=0)


# What becomes of a weight


@pytest.mark.parametrize("kind", KINDS)
def test_permuted_weights_read_the_inputs_in_another_order(kind):
    about = KINDS[kind]
    layer, groups = convolution(**about), about.get("groups", 1)
    transposed = about.get("transposed", False)
    order = orders(layer.weight.shape, groups=groups, transposed=transposed, seed=3, number=1)
    x = torch.rand(2, about["inputs"], 5, 5, dtype=torch.float64)
    moved = x.unflatten(1, (groups, -1)).clone()
    for group, row in enumerate(order):
        moved[:, group, row] = x.unflatten(1, (groups, -1))[:, group]
    expected = layer(moved.flatten(1, 2))
    other = copy.deepcopy(layer)
    other.weight.copy_(permuted(layer.weight, order, groups=groups, transposed=transposed))
    torch.testing.assert_close(other(x), expected, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(other(x), layer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_per_output_each_output_has_an_order_of_its_own(kind):
    about = KINDS[kind]
    groups, transposed = about.get("groups", 1), about.get("transposed", False)
    weight = convolution(**about).weight
    order = orders(weight.shape, groups=groups, transposed=transposed, scope="per_output", seed=0, number=0)
    found = permuted(weight, order, groups=groups, transposed=transposed)
    per_group, inputs = about["outputs"] // groups, about["inputs"] // groups
    for output in range(about["outputs"]):
        group, place = divmod(output, per_group)
        for i in range(inputs):
            if transposed:
                source, target = weight[group * inputs + order[output, i], place], found[group * inputs + i, place]
            else:
                source, target = weight[output, order[output, i]], found[output, i]
            assert torch.equal(source, target)


@pytest.mark.parametrize("scope", ["shared", "per_output"])
def test_a_layer_keeps_its_filters_and_their_power_at_every_frequency(scope):
    weight = convolution(8, 5).weight
    found = permuted(weight, orders(weight.shape, scope=scope, seed=0, number=0))
    for before, after in zip(weight, found, strict=True):
        assert sorted(before.flatten(1).tolist()) == sorted(after.flatten(1).tolist())
    power = [(dctn(w.numpy(), axes=(2, 3), norm="ortho") ** 2).sum((0, 1)) for w in (weight, found)]
    np.testing.assert_allclose(power[0], power[1], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_permutation_gives_the_weight_back(kind):
    about = KINDS[kind]
    weight, groups = convolution(**about).weight, about.get("groups", 1)
    order = torch.arange(about["inputs"] // groups).expand(groups, -1)
    assert torch.equal(permuted(weight, order, groups=groups, transposed=about.get("transposed", False)), weight)


# What becomes of a network


def test_equal_channels_that_are_constant_in_space_give_the_same_sums():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double().requires_grad_(False)
    x = torch.rand(5, 1, 1, 1, dtype=torch.float64).expand(5, 4, 6, 6)
    for scope in ("shared", "per_output"):
        torch.testing.assert_close(shuffled(model, x, scope=scope)[0], model(x), rtol=1e-12, atol=1e-12)
    x = torch.rand(5, 4, 6, 6, dtype=torch.float64)
    assert not torch.allclose(shuffled(model, x)[0], model(x))


def test_the_network_is_what_it_was_afterwards_and_also_when_a_pass_fails():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    weights, hooks = (
        {k: v.clone() for k, v in model.state_dict().items()},
        [dict(m._forward_hooks) for m in model.modules()],
    )
    before = model(x)
    during, shuffle = shuffled(model, x)
    assert not torch.allclose(during, before)
    with pytest.raises(RuntimeError), shuffle:
        model(x[:, :2])
    assert torch.equal(model(x), before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert [dict(m._forward_hooks) for m in model.modules()] == hooks
    assert not torch.overrides._get_current_function_mode_stack()
    with shuffle:
        assert torch.equal(model(x), during)  # the same shuffle again, also after a pass that failed


def test_one_channel_has_nothing_to_shuffle():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Conv2d(1, 1, 3)).requires_grad_(False)
    x = torch.rand(3, 1, 9, 9)
    found, shuffle = shuffled(model, x)
    assert torch.equal(found, model(x))
    assert shuffle.left_alone == dict.fromkeys(["0", "2"], "one input channel")
    assert "Not shuffled (one input channel): 0, 2." in shuffle.note()


def by_hand(model, layers, **options):
    """A copy with the weights of these layers permuted, in the order in which they run."""
    other = copy.deepcopy(model)
    for number, name in enumerate(layers):
        layer = other.get_submodule(name)
        order = orders(layer.weight.shape, groups=layer.groups, seed=0, number=number, **options)
        layer.weight.data = permuted(layer.weight.data, order, groups=layer.groups)
    return other


RESIDUAL = ["conv1", *(f"layer1.{block}.conv{i}" for block in (0, 1) for i in (1, 2))]


@pytest.mark.parametrize("options", [{}, {"draw": 3}, {"scope": "per_output"}])
def test_a_residual_network_does_what_a_copy_permuted_by_hand_does(options):
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    assert torch.equal(shuffled(model, x, **options)[0], by_hand(model, RESIDUAL, **options)(x))


class Shortcut(nn.Module):
    """A block whose shortcut is a convolution, with a depthwise one on the way."""

    def __init__(self):
        super().__init__()
        self.stem, self.wide = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.short = nn.Conv2d(4, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        return self.fc((self.deep(torch.relu(self.wide(x))) + self.short(x)).mean((2, 3)))


def test_shortcuts_have_a_permutation_of_their_own_and_depthwise_convolutions_none():
    model, x = gauge.seeded(Shortcut), gauge.images()
    found, shuffle = shuffled(model, x)
    assert shuffle.shuffled == ["stem", "wide", "short"]
    assert shuffle.left_alone == {"deep": "one input channel per group: depthwise"}
    expected = by_hand(model, ["stem", "wide", "deep", "short"])
    assert torch.equal(expected.deep.weight, model.deep.weight)
    assert torch.equal(found, expected(x))
    assert shuffle.note() == (
        "Channels were shuffled in 3 convolutions. Not shuffled (one input channel per group: depthwise): deep. "
        "Not shuffled (linear layers never are): fc."
    )


def test_the_first_convolution_that_runs_may_be_left_alone():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    found, shuffle = shuffled(model, x, skip_first=True)
    expected = by_hand(model, RESIDUAL)
    expected.conv1.weight.data = model.conv1.weight.data
    assert torch.equal(found, expected(x))
    assert shuffle.left_alone == {"conv1": "the first convolution"}


def test_a_shared_weight_has_one_permutation_and_that_is_said():
    def then(net, x):
        return net.b(net.a(x))

    model = gauge.seeded(lambda: gauge.Calls(then, a=nn.Conv2d(4, 4, 3), b=nn.Conv2d(4, 4, 3)))
    model.b.weight = model.a.weight
    found, shuffle = shuffled(model, gauge.images())
    expected = copy.deepcopy(model)
    for number, layer in enumerate([expected.conv, expected.a]):
        layer.weight.data = permuted(layer.weight.data, orders(layer.weight.shape, seed=0, number=number))
    assert torch.equal(found, expected(gauge.images()))
    assert "a, b share a weight, and so a permutation." in shuffle.note()


def test_weights_that_are_computed_on_the_way_are_shuffled_too():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 4, 3, 3))

        def forward(self, x):
            return F.conv2d(
                F.conv2d(x, self.weight / 6), weight=self.weight[:, :].expand(5, 4, 3, 3)[:4].repeat(1, 2, 1, 1)[:, :5]
            )

    model = gauge.seeded(lambda: gauge.Calls(lambda net, x: net.own(x), own=Scaled()))
    nn.utils.parametrizations.weight_norm(model.conv)
    x = gauge.images()
    found, shuffle = shuffled(model, x)
    assert shuffle.shuffled == ["conv", "own (convolution 1)", "own (convolution 2)"]
    own = model.own.weight
    steps = [model.conv.weight, own / 6, own[:4].repeat(1, 2, 1, 1)[:, :5]]
    y = x
    for number, (weight, bias) in enumerate(zip(steps, [model.conv.bias, None, None], strict=True)):
        weight = permuted(weight, orders(weight.shape, seed=0, number=number))
        y = F.conv2d(y, weight, bias, padding=1 if number == 0 else 0)
    torch.testing.assert_close(found, y)


@pytest.mark.parametrize("computed", [False, True])
def test_a_weight_that_was_changed_in_between_is_shuffled_as_it_is_now(computed):
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    if computed:
        nn.utils.parametrizations.weight_norm(model.conv1)
    _, shuffle = shuffled(model, x)
    with torch.no_grad():
        (model.conv1.parametrizations.weight.original1 if computed else model.conv1.weight)[0].add_(1)
        with shuffle:
            again = model(x)
    assert torch.equal(again, shuffled(model, x)[0])


@pytest.mark.parametrize("build", [nn.Conv1d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose3d])
def test_convolutions_of_any_dimension_are_shuffled(build):
    torch.manual_seed(0)
    model = nn.Sequential(build(8, 2, 2)).requires_grad_(False)
    x = torch.rand(2, 8, *[4] * (1 if "1d" in build.__name__ else 3))
    found, shuffle = shuffled(model, x)
    weight = model[0].weight
    transposed = "Transpose" in build.__name__
    model[0].weight = nn.Parameter(
        permuted(weight, orders(weight.shape, transposed=transposed, seed=0, number=0), transposed=transposed)
    )
    assert torch.equal(found, model(x)) and shuffle.shuffled == ["0"]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own
@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_does_what_its_original_does(decomposed):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.ConvTranspose2d(4, 2, 3)
    model, x = nn.Sequential(*layers).eval(), gauge.images(4)
    program = torch.export.export(model, (x,))
    program = program.run_decompositions() if decomposed else program
    found, shuffle = shuffled(Exported.of(program), x)
    assert shuffle.shuffled == ["0", "2", "3"]
    torch.testing.assert_close(found, shuffled(model, x)[0])


def test_nothing_outside_of_the_network_is_shuffled():
    model, x, weight = nn.Conv2d(3, 4, 3), gauge.images(), torch.rand(2, 3, 3, 3)
    with ChannelShuffle(model, seed=0) as shuffle:
        assert torch.equal(F.conv2d(x, weight), torch.conv2d(x, weight))
        assert not shuffle.has_met_any
