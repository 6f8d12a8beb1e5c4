"""Every weight of a network: names as the other probes give them, values as a pass uses them, bounds as drawn."""

import math
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from flexure.errors import ArgumentError
from flexure.weights import convolutions, every_weight, select


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 6, 3, groups=2)
        self.blocks = nn.ModuleList([nn.Linear(5, 7), weight_norm(nn.Linear(7, 5))])
        self.place = nn.Parameter(torch.zeros(1, 8, 5))
        self.rnn = nn.LSTM(5, 9)
        self.words = nn.Embedding(11, 5)


def test_every_weight_of_two_axes_has_a_name_and_biases_have_none():
    found = {one.name: (one.kind, one.channels, one.fan_in) for one in every_weight(Mixed())}
    assert found == {
        "place": ("Mixed", "8→1", None),
        "conv": ("Conv2d", "3→4", 27),
        "up": ("ConvTranspose2d", "4→6, 2 groups", 27),
        "blocks.0": ("Linear", "5→7", 5),
        "blocks.1": ("Linear", "7→5", 7),
        "rnn.weight_ih_l0": ("LSTM", "5→36", 9),
        "rnn.weight_hh_l0": ("LSTM", "9→36", 9),
        "words": ("Embedding", "5→11", None),
    }
    assert [one.name for one in convolutions(Mixed())] == ["conv", "up"]


def test_a_bare_layer_is_known_by_its_kind():
    assert [one.name for one in every_weight(nn.Linear(3, 2))] == ["linear"]
    assert [one.name for one in every_weight(nn.BatchNorm2d(3))] == []


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_weights_that_are_worked_out_are_those_that_a_pass_would_use():
    plain = nn.Linear(4, 3)
    normed, old, cut = weight_norm(nn.Linear(4, 3)), nn.utils.weight_norm(nn.Linear(4, 3)), nn.Linear(4, 3)
    prune.l1_unstructured(cut, "weight", amount=0.5)
    with torch.no_grad():
        old.weight_g.mul_(3)  # what lies about is stale now
        cut.weight_orig.mul_(2)
    for layer in (plain, normed, old, cut):
        (one,) = every_weight(nn.Sequential(layer))
        expected = layer(torch.eye(4)) - layer.bias
        torch.testing.assert_close(one.weight.T, expected, rtol=1e-5, atol=1e-6)
        assert one.name == "0" and one.weight.requires_grad


def test_gradients_reach_the_parameters_behind_a_weight():
    layer = weight_norm(nn.Conv2d(3, 4, 3))
    (one,) = convolutions(nn.Sequential(layer))
    one.weight.square().sum().backward()
    assert all(p.grad is not None for name, p in layer.named_parameters() if name != "bias")


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_the_bound_of_the_default_initializer_is_known_for_what_is_drawn_by_it_alone():
    class Own(nn.Conv2d):
        def reset_parameters(self) -> None:
            nn.init.normal_(self.weight)

    class Derived(nn.Conv2d):
        pass

    for layer in (nn.Conv1d(4, 6, 5), nn.Conv2d(8, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3), nn.Linear(9, 4)):
        (one,) = every_weight(layer)
        assert 0.9 < one.weight.abs().max().item() * math.sqrt(one.fan_in) <= 1
    known = [Derived(2, 2, 3), weight_norm(nn.Conv2d(2, 2, 3)), nn.RNNCell(3, 4)]
    assert [one.fan_in for layer in known for one in every_weight(layer)] == [18, 18, 4, 4]
    unknown = [
        Own(2, 2, 3),
        spectral_norm(nn.Conv2d(2, 2, 3)),
        nn.utils.spectral_norm(nn.Linear(2, 2)),
        nn.Embedding(3, 2),
    ]
    assert [one.fan_in for layer in unknown for one in every_weight(layer)] == [None] * 4


def test_torchscript_keeps_weights_and_bounds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4, 2)))
    assert [(one.name, one.kind, one.fan_in) for one in every_weight(scripted)] == [
        ("0", "Conv2d", 27),
        ("2", "Linear", 4),
    ]


def test_a_filter_is_all_that_one_output_sums():
    torch.manual_seed(0)
    for layer in (nn.ConvTranspose2d(4, 6, 3, groups=2), nn.ConvTranspose2d(3, 5, 2), nn.Conv2d(4, 6, 3, groups=2)):
        (one,) = convolutions(layer)
        filters, groups = one.by_output(), layer.groups
        assert filters.shape[:2] == (layer.out_channels, layer.in_channels // groups)
        # an output channel of which only channel c of one group is fed a single pixel carries exactly that kernel
        for out in range(layer.out_channels):
            group = out // (layer.out_channels // groups)
            for c in range(layer.in_channels // groups):
                x = torch.zeros(1, layer.in_channels, 7, 7)
                x[0, group * (layer.in_channels // groups) + c, 3, 3] = 1
                with torch.no_grad():
                    seen = (layer(x) - layer(0 * x))[0, out]
                total = filters[out, c].sum().item()
                assert seen.sum().item() == pytest.approx(total, abs=1e-5)


def test_layers_are_chosen_by_name_or_kind_and_a_wrong_one_is_named():
    found = every_weight(Mixed())
    assert [one.name for one in select(found, ["Linear", "conv"], "fuzziness")] == ["conv", "blocks.0", "blocks.1"]
    with pytest.raises(ArgumentError, match=r"fuzziness: no weight matches 'blocks\.9'\. Did you mean 'blocks\."):
        select(found, "blocks.9", "fuzziness", "weight")
