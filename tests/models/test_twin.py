"""Linear twins: affine where the formula says so, and nothing of the network is lost or shared."""

import copy
import pickle
import warnings
from functools import partial

import gauge
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.overrides import TorchFunctionMode

import flexure
from flexure import Specimen
from flexure.errors import ArgumentError, SpecimenError
from flexure.models import NETS, linear_twin, reinitialized
from flexure.models.fnn import FNN, SkipFNN
from flexure.models.simple_cnn import SimpleCNN
from flexure.models.twin import _CALLS, _FUNCTIONS, _MODULES


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def is_affine(model: nn.Module, *shape: int, size: float = 20) -> bool:
    model = copy.deepcopy(model).double().eval()
    a, b = size * torch.randn(2, 3, *shape, dtype=torch.float64)
    between = model(0.3 * a + 0.7 * b)
    return torch.allclose(between, 0.3 * model(a) + 0.7 * model(b), atol=1e-9)


def called(model: nn.Module, x: torch.Tensor) -> set:
    """Functions of torch that a network calls."""
    found = set()

    class Spy(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            found.add(func)
            return func(*args, **(kwargs or {}))

    with Spy():
        model(x)
    return found


def kinds(model: nn.Module) -> set[type]:
    return {type(module) for module in model.modules()}


def test_a_fully_connected_network_becomes_the_affine_map_of_its_weights():
    model = FNN([7], image_size=(1, 3)).double()
    x = torch.randn(5, 1, 1, 3, dtype=torch.float64)
    first, second = model.layers.linear1, model.layers.linear2
    expected = (x.flatten(1) @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(linear_twin(model)(x), expected)
    assert not torch.allclose(model(x), expected)


@pytest.mark.parametrize("kind", _MODULES)
def test_every_kind_of_module_becomes_the_identity(kind):
    arguments = {nn.Threshold: (0.1, 20.0)}.get(kind, ())
    model = nn.Sequential(nn.Linear(4, 4), kind(*arguments))
    assert not is_affine(model, 4) and is_affine(linear_twin(model), 4)
    assert kinds(linear_twin(model)) == {nn.Sequential, nn.Linear, nn.Identity}
    assert type(linear_twin(kind(*arguments))) is nn.Identity


PLAIN = [name for name in _FUNCTIONS if name not in ("prelu", "threshold")]
CALLS = {
    **{f"F.{name}": lambda x, name=name: getattr(F, name)(x) for name in PLAIN},
    "F.prelu": lambda x: F.prelu(x, torch.tensor([0.2], dtype=x.dtype)),
    "F.threshold": lambda x: F.threshold(x, 0.1, 20.0),
    "torch.relu": torch.relu,
    "torch.relu_": lambda x: torch.relu_(x),
    "torch.sigmoid by name": lambda x: torch.sigmoid(input=x),
    "torch.special.expit": torch.special.expit,
    "x.relu": lambda x: x.relu(),
    "x.tanh_": lambda x: x.tanh_(),
    "in place": lambda x: F.relu(x, inplace=True),
    "aten": torch.ops.aten.relu.default,
    "aten packet": torch.ops.aten.gelu,
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_passed_over(name):
    model = gauge.Calls(lambda net, x: CALLS[name](x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two names are outdated
        assert not is_affine(model, 3, 5, 5) and is_affine(linear_twin(model), 3, 5, 5)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Shifted(nn.ReLU):
    def forward(self, input):
        return 2 * F.relu(input) + 1


def test_a_module_of_others_that_acts_on_each_number_is_an_activation():
    model = nn.Sequential(nn.Linear(4, 4), Swish(), nn.Linear(4, 4))
    assert type(linear_twin(model)[1]) is nn.Identity and is_affine(linear_twin(model), 4)
    derived = linear_twin(nn.Sequential(nn.Linear(4, 4), Shifted()))
    x = torch.randn(3, 4)
    torch.testing.assert_close(derived(x), 2 * derived[0](x) + 1)


@pytest.mark.parametrize("then", [lambda net, x: x.softmax(1), lambda net, x: F.max_pool2d(x, 2)])
def test_what_mixes_numbers_stays(then):
    model = gauge.Calls(then)
    x = torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(linear_twin(model)(x), model(x))


class Halves(nn.Module):
    def forward(self, x):
        return 0.5 * x


class Mixes(nn.Module):
    def forward(self, x):
        return x.softmax(1)


def test_modules_without_weights_that_are_no_activations_stay():
    twin = linear_twin(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), Halves(), Mixes(), nn.Dropout(), nn.Softmax(1)))
    assert [type(module) for module in list(twin)[2:]] == [Halves, Mixes, nn.Dropout, nn.Softmax]


def test_a_residual_network_with_calls_between_its_modules_has_an_affine_twin():
    model = gauge.ResidualNet().eval()
    assert not is_affine(model, 3, 8, 8, size=1) and is_affine(linear_twin(model), 3, 8, 8, size=1)


def test_the_network_with_a_skip_and_the_simple_one_keep_their_scales():
    model = SimpleCNN(hidden=4, depth=2, num_classes=1)
    x = torch.randn(3, 1, 1, 16)
    y = x
    for number in (1, 2):
        y = model.get_submodule(f"conv{number}")(y) * 2**0.5
    torch.testing.assert_close(linear_twin(model)(x), model.readout(y.mean((2, 3))), rtol=1e-4, atol=1e-5)
    assert is_affine(linear_twin(SkipFNN(image_size=(1, 3), width=0.01)), 1, 1, 3)


@pytest.mark.parametrize("name", NETS)
def test_every_net_has_a_twin_of_the_same_weights_which_calls_no_activation_function(name):
    net = NETS[name]
    model = net.factory(num_classes=4, channels=net.channels, width=0.07).eval()
    twin = linear_twin(model)
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in twin.state_dict().items())
    assert list(twin.state_dict()) == list(state)
    assert not kinds(twin) & set(_MODULES)
    x = torch.rand(2, net.channels, *net.image_size)
    assert called(model, x) & _CALLS and not called(twin, x) & _CALLS


def test_transformer_layers_lose_theirs_also_where_torch_takes_a_fused_op():
    for activation in (nn.ReLU(), "gelu"):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation=activation).eval()
        twin = linear_twin(layer)
        x = torch.randn(2, 3, 8)
        y = twin.norm1(x + twin.self_attn(x, x, x, need_weights=False)[0])
        expected = twin.norm2(y + twin.linear2(twin.linear1(y)))
        with torch.no_grad():
            torch.testing.assert_close(twin(x), expected)
            assert not torch.allclose(layer(x), expected, atol=1e-3)


def test_the_network_is_left_as_it_is_and_nothing_is_shared():
    model = gauge.ResidualNet().train()
    model.layer1[0].eval()
    x = torch.randn(2, 3, 8, 8)
    modes, before = [m.training for m in model.modules()], {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    twin = linear_twin(model)
    assert [m.training for m in twin.modules()] == modes == [m.training for m in model.modules()]
    twin(x).sum().backward()
    with torch.no_grad():
        twin.fc.weight.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert "forward" not in vars(model) and torch.equal(torch.get_rng_state(), random)


def test_activations_are_back_once_the_twin_has_run_also_after_an_error():
    twin = linear_twin(gauge.Calls(lambda net, x: F.relu(x) + torch.ones(7)))
    with pytest.raises(RuntimeError):
        twin(torch.randn(1, 3, 4, 4))
    assert F.relu(torch.tensor([-1.0])).item() == 0


class OwnCalls(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return torch.tanh(self.linear(x))


def test_copies_and_pickles_of_a_twin_are_twins_of_their_own_and_it_runs_by_other_weights():
    twin = linear_twin(OwnCalls())
    x = torch.randn(2, 3)
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin)), linear_twin(twin)):
        with torch.no_grad():
            other.linear.weight.mul_(2)
        torch.testing.assert_close(other(x), other.linear(x))
    torch.testing.assert_close(twin(x), twin.linear(x))
    weights = {name: torch.ones_like(p) for name, p in twin.named_parameters()}
    torch.testing.assert_close(functional_call(twin, weights, (x,)), x.sum(1, keepdim=True).expand(2, 3) + 1)
    slopes = vmap(jacrev(lambda row: functional_call(twin, weights, (row,))))(x)
    torch.testing.assert_close(slopes, torch.ones(2, 3, 3))


def test_kept_modules_keep_their_activations_within_and_without():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.act = nn.Linear(3, 3), nn.ReLU()

        def forward(self, x):
            return torch.tanh(self.act(self.body(x)))

    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Gate(), OwnCalls())
    twin = linear_twin(model, keep="2")
    x = torch.randn(4, 3)
    torch.testing.assert_close(twin(x), twin[3].linear(model[2](model[0](x))))
    net = FNN([5], image_size=(1, 3), probabilities=True)
    points = torch.randn(4, 1, 1, 3)
    twin, body = linear_twin(net, keep=["head"]), linear_twin(net)
    torch.testing.assert_close(twin(points), torch.sigmoid(body(points)))


def test_the_twin_of_a_specimen_has_its_inputs_and_fresh_weights_of_its_kind():
    build = partial(FNN, [4], image_size=(2, 2))
    specimen = Specimen(build(), normalize=(0.5, 0.5), bounds=(0, 1), name="net", factory=build)
    twin = flexure.linear_twin(specimen)
    assert (twin.normalize, twin.bounds, twin.name) == (specimen.normalize, (0, 1), "net, linear")
    fresh = reinitialized(twin, 1)
    assert is_affine(twin.model, 1, 2, 2) and is_affine(fresh, 1, 2, 2)
    assert not torch.equal(fresh.layers.linear1.weight, twin.model.layers.linear1.weight)
    assert not is_affine(specimen.model, 1, 2, 2)


def test_probes_measure_a_twin():
    found = flexure.sensitivity(linear_twin(gauge.ResidualNet().eval()), gauge.images(12), seed=0)
    assert set(found["status"]) == {"measured"}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)), r"no twin of 1 \(LSTM\): its activations are within"),
        (lambda: nn.GRUCell(2, 2), r"no twin of GRUCell \(GRUCell\): its activations are within"),
        (lambda: torch.jit.trace(OwnCalls(), torch.zeros(1, 3)), "it is a compiled program"),
    ],
)
def test_activations_out_of_reach_are_named(model, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is outdated
        network = model()
    with pytest.raises(SpecimenError, match=words):
        linear_twin(network)


def test_a_forward_set_on_the_object_and_a_module_that_is_not_there_are_refused():
    model = OwnCalls()
    model.forward = model.linear.forward
    with pytest.raises(SpecimenError, match="no twin of OwnCalls: its forward was set on the object"):
        linear_twin(model)
    with pytest.raises(ArgumentError, match=r"no module 'haed' to keep\. Did you mean 'head'"):
        linear_twin(FNN([4], image_size=(1, 2), probabilities=True), keep="haed")


def test_an_encoder_of_transformer_layers_has_a_twin_too():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        encoder = nn.TransformerEncoder(layer, 2).eval()
        x = torch.randn(2, 3, 8)
        twin = linear_twin(encoder)
        with torch.no_grad():
            expected = linear_twin(encoder.layers[1])(linear_twin(encoder.layers[0])(x))
            torch.testing.assert_close(twin(x), expected)
            assert not torch.allclose(encoder(x), expected, atol=1e-3)


def test_a_module_that_stands_in_two_places_is_passed_over_in_both():
    shared = nn.ReLU()
    twin = linear_twin(nn.Sequential(nn.Linear(8, 8), shared, nn.Linear(8, 8), shared))
    assert isinstance(twin[1], nn.Identity) and isinstance(twin[3], nn.Identity)
