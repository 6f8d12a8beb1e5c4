"""Which convolutions a network has: the weights are those that a forward pass would use, and nothing is written."""

import warnings

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

import flexure
from flexure.models import resolve
from flexure.weights import convolutions


def effective(layer, x=None):
    """The weight that a forward pass in evaluation mode really uses."""
    seen = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in (F.conv2d, torch.conv2d):
                seen.append(args[1].detach().clone())
            return func(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        layer.eval()(gauge.images() if x is None else x)
    return seen[-1]


def old_weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        layer = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    with torch.no_grad():
        layer.weight_g.mul_(torch.arange(1, 5).view(-1, 1, 1, 1))  # layer.weight is stale now
    return layer


def pruned():
    layer = prune.l1_unstructured(nn.Conv2d(3, 4, 3), "weight", amount=0.5)
    with torch.no_grad():
        layer.weight_orig.mul_(3)
    return layer


@pytest.mark.parametrize(
    "make",
    [
        lambda: weight_norm(nn.Conv2d(3, 4, 3)),
        lambda: spectral_norm(nn.Conv2d(3, 4, 3)),
        old_weight_norm,
        lambda: nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)),
        pruned,
    ],
    ids=["weight_norm", "spectral_norm", "old weight_norm", "old spectral_norm", "pruned"],
)
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_weights_are_those_that_a_forward_pass_uses_and_nothing_is_written(make):
    torch.manual_seed(0)
    net = nn.Sequential(make()).train()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    attributes = {name: id(value) for name, value in vars(net[0]).items()}
    found = flexure.filters(net, initialized=0)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items()) and net.training
    assert {name: id(value) for name, value in vars(net[0]).items()} == attributes
    plain = nn.Sequential(nn.Conv2d(3, 4, 3))
    with torch.no_grad():
        plain[0].weight.copy_(effective(net[0]))
    np.testing.assert_allclose(found["power"], flexure.filters(plain, initialized=0)["power"], rtol=1e-6)
    assert found["kind"][0] == "Conv2d" and found["layer"][0] == "0"


def test_names_are_those_of_the_other_probes():
    net = gauge.seeded(gauge.ResidualNet)
    known = flexure.layers(net, gauge.images()).table
    assert [one.name for one in convolutions(net)] == known[known["kind"] == "Conv2d"]["layer"].tolist()
    assert [one.name for one in convolutions(nn.Conv2d(3, 4, 3))] == ["conv2d"]
    assert flexure.filters(nn.DataParallel(net))["layer"].tolist()[0] == "conv1"


def test_a_module_used_twice_is_one_convolution_and_a_shared_weight_is_two():
    one, two = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    two.weight = one.weight
    found = flexure.filters(nn.Sequential(one, one, two), initialized=0)
    assert found["layer"].tolist() == ["0", "2"] and found["power"][0].tolist() == found["power"][1].tolist()


def test_torchscript_keeps_its_convolutions():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3, groups=2)))
    table = flexure.filters(scripted, initialized=0).table
    assert table["kind"].tolist() == ["Conv2d", "ConvTranspose2d"]
    assert table["channels"].tolist() == ["3→4", "4→2, 2 groups"]


class Odd(nn.Module):
    """Everything that an exported program may make of a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.normed = nn.Conv2d(3, 4, 3), weight_norm(nn.Conv2d(4, 4, 3))
        self.up, self.twice = nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Conv2d(4, 4, 3, padding=1)
        self.filters, self.further = nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4, 4, 3, 3))

    def forward(self, x):
        x = self.twice(self.twice(self.up(self.normed(self.plain(x)))))
        x = F.conv2d(F.conv2d(x, self.filters, groups=2), self.further)
        return F.conv2d(x, x.mean((0, 2, 3), keepdim=True).expand(2, 4, 1, 1)).mean((2, 3))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    net = Odd().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(net, (torch.rand(2, 3, 16, 16),))
        torch.export.save(program, path := tmp_path_factory.mktemp("exported") / "odd.pt2")
        torch.export.save(program.run_decompositions(), low := path.with_name("low.pt2"))
    return net, path, low


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_filters_of_an_exported_program_are_found_in_its_graph(exported):
    net, path, low = exported
    found = flexure.filters(resolve(str(path), trust=True))
    table = found.table.set_index("layer")
    assert list(table.index) == ["plain", "normed", "up", "twice", "conv2d", "conv2d_1", "conv2d_2"]
    assert table["channels"].tolist() == ["3→4", "4→4", "4→4, 2 groups", "4→4", "4→4, 2 groups", "4→4", ""]
    assert table["status"].tolist()[-1] == "its filters depend on the image" and table["n"].iloc[-1] == 0
    assert table["status_init"].str.startswith("no fresh weights").all()
    bounds = [one.fan_in for one in convolutions(resolve(str(path), trust=True).model)]
    assert bounds == [27, None, 8, 36, None, None, None]  # of what is drawn by PyTorch's default, and not worked out
    whole = flexure.filters(net, initialized=0)
    np.testing.assert_allclose(found["power"][:4], whole["power"], rtol=1e-6)
    lower = flexure.filters(resolve(str(low), trust=True), initialized=0)
    np.testing.assert_allclose(lower["power"], found["power"], rtol=1e-6)
    assert lower.table["channels"].tolist() == found.table["channels"].tolist()
    assert lower.table["kind"].tolist()[:6] == ["Conv2d", "Conv2d", "ConvTranspose2d", "Conv2d", "Conv2d", "Conv2d"]
