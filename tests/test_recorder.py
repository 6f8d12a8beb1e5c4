"""The recorder against torch.fx, against naive hooks, and against every way a forward function can be written."""

import re
import warnings

import gauge
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import parametrizations

from flexure.recorder import OUTPUT, Recorder, SelfReporting, is_block, is_leaf, op_name


def record(model, x=None, *, blocks=False):
    """Names, kinds and copies of everything that one pass emits."""
    seen = []
    recorder = Recorder(model, lambda e: seen.append((e.name, e.kind, e.value.clone())), blocks=blocks)
    with torch.no_grad(), recorder:
        recorder.begin()
        model(gauge.images() if x is None else x)
    return seen


def names(model, x=None, *, blocks=False):
    return [name for name, _, _ in record(model, x, blocks=blocks)]


class PathTracer(fx.Tracer):
    """Traces a network and names every node by the module it stands in, as torchvision's feature extraction does."""

    def __init__(self):
        super().__init__()
        self.path, self.named = "", []

    def call_module(self, m, forward, args, kwargs):
        before, self.path = self.path, self.path_of_module(m)
        try:
            return super().call_module(m, forward, args, kwargs)
        finally:
            self.path = before

    def create_node(self, op, *args, **kwargs):
        node = super().create_node(op, *args, **kwargs)
        if op not in ("placeholder", "output", "get_attr"):
            self.named.append(self._own(self.path if op == "call_module" else f"{self.path}.{node}".lstrip("."), op))
        return node

    def _own(self, name, op):
        if op != "call_module":
            name = re.sub(r"_\d+$", "", name)
        earlier = [found for found in self.named if re.fullmatch(rf"{re.escape(name)}(_\d+)?", found)]
        return f"{name}_{len(earlier)}" if earlier else name


@pytest.mark.parametrize("build", [gauge.ResidualNet, gauge.Residual, gauge.linear])
def test_names_are_those_of_torch_fx(build):
    model = gauge.seeded(build)
    tracer = PathTracer()
    tracer.trace(model)
    x = torch.rand(2, 4, 8, 8) if build is gauge.Residual else None
    assert names(model, x) == tracer.named


def test_the_second_use_of_a_module_is_numbered_where_it_stands():
    found = names(gauge.seeded(gauge.ResidualNet))
    assert found[:8] == ["mul", "sub", "conv1", "bn1", "relu", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu"]
    assert {"layer1.0.add", "layer1.0.relu_1", "layer1.1.relu_1", "cat", "avg_pool2d", "relu_1", "flatten"} <= {*found}


def test_what_the_next_op_overwrites_is_seen_as_it_was_emitted():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    kept, late = {}, []
    handle = model.bn1.register_forward_hook(lambda module, args, value: late.append(value))
    emitted = {name: value for name, _, value in record(model, x)}
    handle.remove()
    with torch.no_grad():
        kept["conv1"] = F.conv2d(x * 2 - 1, model.conv1.weight, padding=1)
        kept["bn1"] = model.bn1(kept["conv1"].clone())
    assert late[0].min() >= 0  # what a naive hook keeps is already rectified
    assert emitted["bn1"].min() < -0.1
    assert torch.equal(emitted["bn1"], kept["bn1"]) and torch.equal(emitted["conv1"], kept["conv1"])
    assert torch.equal(emitted["relu"], kept["bn1"].clamp(min=0))


def test_every_emission_equals_that_of_the_same_net_without_anything_in_place():
    model = gauge.seeded(gauge.ResidualNet)
    plain = gauge.seeded(gauge.ResidualNet)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    inputs = [(name, value) for name, _, value in record(model)]
    for (name, value), (twin, other) in zip(inputs, [(n, v) for n, _, v in record(plain)], strict=True):
        assert name == twin and torch.equal(value, other), name


FORWARD = {
    "twice": (lambda net, x: net.act(net.act(x)), ["conv", "act", "act_1"]),
    "same object under two names": (lambda net, x: net.alias(net.act(x)), ["conv", "act", "act_1"]),
    "forward called by hand": (lambda net, x: net.act.forward(x), ["conv", "relu"]),
    "functional": (lambda net, x: F.relu(x).sigmoid(), ["conv", "relu", "sigmoid"]),
    "functional in place": (lambda net, x: F.relu(x, inplace=True), ["conv", "relu"]),
    "method in place": (lambda net, x: x.relu_().mul_(2), ["conv", "relu", "mul"]),
    "operators": (lambda net, x: (x * 2 + 1) ** 2 - x, ["conv", "mul", "add", "pow", "sub"]),
    "reflected operators": (lambda net, x: 1 - (2 * (1 / x)), ["conv", "div", "mul", "sub"]),
    "division": (lambda net, x: x / 2 % 3 // 2, ["conv", "div", "remainder", "floordiv"]),
    "chunk": (lambda net, x: x.chunk(2, 1)[0], ["conv", "chunk", "chunk.1"]),
    "largest": (lambda net, x: x.max(1)[0], ["conv", "max", "max.1"]),
    "handed back": (lambda net, x: F.dropout(x.contiguous().to(x.dtype), 0.5, training=False), ["conv"]),
    "made contiguous": (lambda net, x: x.transpose(2, 3).contiguous(), ["conv", "transpose", "contiguous"]),
    "views": (lambda net, x: x.view(len(x), -1)[:, :3].unsqueeze(1), ["conv", "view", "getitem", "unsqueeze"]),
    "no tensors": (lambda net, x: x.reshape(x.size(0), x.shape[1] * x.numel() // x[:, 0].numel(), -1), None),
    "transposed attribute": (lambda net, x: x.mT @ x, ["conv", "matmul"]),
    "cat": (lambda net, x: torch.cat([x, x], dim=1), ["conv", "cat"]),
    "dropped result": (lambda net, x: (F.relu(x), x)[1], ["conv", "relu"]),
}


@pytest.mark.parametrize("case", FORWARD)
def test_ways_to_write_a_forward_function(case):
    then, expected = FORWARD[case]
    act = nn.ReLU(inplace=case == "twice")
    model = gauge.Calls(then, act=act, alias=act)
    assert names(model) == (expected or ["conv", "getitem", "reshape"])


def test_what_an_op_emits_is_its_result():
    emitted = {name: value for name, _, value in record(gauge.Calls(lambda net, x: (x * 2).chunk(2, 1)[1]))}
    assert torch.equal(emitted["mul"], emitted["conv"] * 2)
    assert torch.equal(emitted["chunk.1"], emitted["mul"][:, 2:])


def test_kinds_are_classes_and_functions():
    found = {name: kind for name, kind, _ in record(gauge.seeded(gauge.ResidualNet))}
    assert (found["conv1"], found["layer1.0.relu_1"], found["layer1.0.add"]) == ("Conv2d", "ReLU", "add")


def test_no_two_emissions_share_a_name():
    acts = {"relu": nn.ReLU(), "relu_1": nn.ReLU(), "output": nn.ReLU(), "add": nn.ReLU()}
    model = gauge.Calls(lambda net, x: net.output(net.relu_1(net.relu(net.relu(net.add(x + 1))))), **acts)
    found = names(model)
    assert len(set(found)) == len(found)
    assert found == ["conv", "add", "add_1", "relu", "relu_2", "relu_1", "output_1"]


def test_the_name_output_is_kept_for_what_the_network_returns():
    model = gauge.Calls(lambda net, x: net.output(x), output=nn.Sequential(nn.ReLU(), gauge.Residual()))
    assert OUTPUT not in names(model)
    assert OUTPUT not in names(gauge.Calls(lambda net, x: net.output(x), output=gauge.Residual()), blocks=True)


def test_nested_containers_are_looked_into_and_torch_layers_are_not():
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.0)
    model = gauge.Calls(
        lambda net, x: net.attention(*3 * [net.layer(net.deep(x).flatten(2).mT)])[0],
        deep=nn.Sequential(nn.Sequential(nn.ReLU(), nn.ModuleDict({"a": nn.ReLU()})["a"])),
        layer=layer,
        attention=nn.MultiheadAttention(4, 2, batch_first=True),
    ).eval()
    assert names(model) == ["conv", "deep.0.0", "deep.0.1", "flatten", "layer", "attention", "attention.1"]


def test_a_parametrized_layer_is_still_one_op_and_a_users_module_still_none():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, x):
            return F.relu(x) * self.weight.sum()

    scaled = parametrizations.orthogonal(Scaled())
    model = gauge.Calls(lambda net, x: net.scaled(net.smooth(x)), scaled=scaled)
    model.smooth = parametrizations.weight_norm(nn.Conv2d(4, 4, 1))
    found = {name: kind for name, kind, _ in record(model)}
    assert is_leaf(model.smooth) and not is_leaf(scaled)
    assert found["smooth"] == "Conv2d" and {"scaled.relu", "scaled.mul"} <= set(found)


def test_a_network_that_is_one_layer_has_one_op():
    assert names(nn.Identity()) == ["identity"]
    assert names(nn.Conv2d(3, 2, 1)) == ["conv2d"]


def test_results_in_dicts_and_tuples_are_emitted_one_by_one():
    class Parts(nn.LSTM):
        def forward(self, x):
            return {"a": x, "b": None, "c": x + 1}

    Parts.__module__ = nn.LSTM.__module__
    model = gauge.Calls(lambda net, x: net.parts(x)["a"], parts=Parts(2, 2))
    assert names(model) == ["conv", "parts", "parts.1"]


def test_blocks_are_modules_that_hold_others():
    model = gauge.seeded(gauge.ResidualNet)
    assert names(model, blocks=True) == ["layer1.0", "layer1.1"]
    assert is_block(model.layer1[0]) and not is_block(model.layer1) and not is_block(model.conv1)
    assert not is_block(type("Alone", (nn.Module,), {})())
    block = {name: value for name, _, value in record(model, blocks=True)}
    op = {name: value for name, _, value in record(model)}
    assert torch.equal(block["layer1.1"], op["layer1.1.relu_1"])


def state(model):
    """Everything a recorder could leave behind in a network."""
    return [
        {k: len(v) for k, v in vars(module).items() if "hooks" in k and hasattr(v, "__len__")}
        for module in model.modules()
    ]


def test_hooks_go_at_the_end_and_also_after_an_exception():
    model = gauge.seeded(gauge.ResidualNet)
    before, keys = state(model), [sorted(vars(module)) for module in model.modules()]
    record(model)
    with pytest.raises(ZeroDivisionError), Recorder(model, lambda e: 1 / 0) as recorder:
        recorder.begin()
        model(gauge.images())
    assert state(model) == before
    assert [sorted(vars(module)) for module in model.modules()] == keys
    assert not torch.overrides._get_current_function_mode_stack()


def test_nothing_is_emitted_outside_of_the_context():
    model, seen = gauge.seeded(gauge.ResidualNet), []
    recorder = Recorder(model, lambda e: seen.append(e.name))
    with recorder:
        pass
    model(gauge.images())
    assert not seen


def test_a_pass_that_raised_half_way_does_not_color_the_next():
    model = gauge.seeded(gauge.ResidualNet)
    seen, limit = [], 9

    def emit(emission):
        seen.append(emission.name)
        if len(seen) == limit:
            raise KeyboardInterrupt

    expected = names(model)
    recorder = Recorder(model, emit)
    with torch.no_grad(), recorder:
        recorder.begin()
        with pytest.raises(KeyboardInterrupt):
            model(gauge.images())
        seen.clear()
        limit = 1000
        recorder.begin()
        model(gauge.images())
    assert seen == expected


def test_a_pass_interrupted_inside_a_layer_does_not_silence_the_next():
    model, interrupted = gauge.seeded(gauge.ResidualNet), []

    def interrupt(module, args):
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt

    expected, seen = names(model), []
    model.layer1[0].conv2.register_forward_pre_hook(interrupt)
    with torch.no_grad(), Recorder(model, lambda e: seen.append(e.name)) as recorder:
        recorder.begin()
        with pytest.raises(KeyboardInterrupt):
            model(gauge.images())
        seen.clear()
        recorder.begin()
        model(gauge.images())
    assert seen == expected


def test_an_exception_that_the_network_catches_itself_changes_no_names():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(F.relu(x))

    def then(net, x):
        try:
            return net.fails(x)
        except RuntimeError:
            return torch.tanh(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names(gauge.Calls(then, fails=Fails())) == ["conv", "fails.relu", "tanh"]


def test_hooks_of_the_user_run_as_before_and_their_results_count():
    model = gauge.Calls(lambda net, x: net.act(x), act=nn.ReLU())
    model.act.register_forward_hook(lambda module, args, value: value * 0 - 7)
    model.act.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    found = record(model)
    assert [name for name, _, _ in found] == ["conv", "act"]
    assert (found[-1][2] == -7).all()


def test_the_consumers_own_arithmetic_is_not_recorded():
    model, seen = gauge.seeded(gauge.ResidualNet), []

    def emit(emission):
        seen.append(emission.name)
        (emission.value + 1).sum()

    with torch.no_grad(), Recorder(model, emit) as recorder:
        recorder.begin()
        model(gauge.images())
    assert seen == names(model)


def test_a_recorded_pass_returns_what_a_plain_one_returns():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    with torch.no_grad():
        plain = model(x)
        with Recorder(model, lambda e: None) as recorder:
            recorder.begin()
            assert torch.equal(model(x), plain)


def test_weights_made_for_inference_alone_can_be_recorded():
    with torch.inference_mode():
        model = gauge.seeded(gauge.ResidualNet)
    with torch.inference_mode():
        assert names(model) == names(gauge.seeded(gauge.ResidualNet))


def test_a_network_that_reports_itself_is_listened_to_and_left_alone():
    class Graph(SelfReporting):
        def forward(self, x):
            y = x * 2
            if self.observer is not None:
                self.observer("first.mul", "mul", y)
                self.observer("first.mul", "mul", y + 1)
            return y

    model = Graph()
    assert names(model) == ["first.mul", "first.mul_1"]
    assert model.observer is None
    assert names(model, blocks=True) == []


def test_a_users_attribute_called_observer_is_the_users_own():
    model = gauge.Calls(lambda net, x: net.observer(x), observer=nn.ReLU())
    act = model.observer
    assert names(model) == ["conv", "observer"]
    assert model.observer is act


@pytest.mark.parametrize(
    ("function", "name"),
    [("__itruediv__", "truediv"), ("__and__", "and"), ("__rpow__", "pow"), ("conv2d", "conv2d"), ("relu", "relu")],
)
def test_in_place_and_reflected_functions_are_called_like_the_plain_ones(function, name):
    assert op_name(function) == name
