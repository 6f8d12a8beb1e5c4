"""A specimen leaves the bench as it came, whatever was asked of it and however that ended."""

import contextlib
import random

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import flexure
from flexure.bench import mount
from flexure.errors import FlexureError
from flexure.results import Result


def _partly_in_training():
    model = gauge.ResidualNet().train()
    model.layer1[0].eval()
    return model


def _with_gradients():
    model = gauge.ResidualNet()
    model(gauge.images()).square().sum().backward()
    model.fc.weight.requires_grad_(False)
    return model


def _with_hooks():
    model = gauge.ResidualNet()
    model.relu.register_forward_hook(lambda module, args, value: value)
    model.fc.register_forward_pre_hook(lambda module, args: None)
    return model


def _shared():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = gauge.Calls(lambda net, x: net.b(net.a(x)), a=conv, b=nn.Conv2d(4, 4, 3, padding=1))
    model.b.weight = conv.weight
    return model


def _draws_numbers():
    def then(net, x):
        return x + random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002

    return gauge.Calls(then)


GAUGES = {
    "residual, training mode": lambda: gauge.ResidualNet().train(),
    "modes of its own": _partly_in_training,
    "gradients and frozen weights": _with_gradients,
    "hooks of the user's": _with_hooks,
    "linear": gauge.linear,
    "transformer": gauge.PatchTransformer,
    "no weights": nn.Identity,
    "shared weights": _shared,
    "counts its calls": gauge.Counting,
    "not a number": gauge.not_a_number_at,
    "half precision": lambda: gauge.linear().bfloat16(),
    "no running statistics": lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()),
    "trains whenever it is called": lambda: gauge.Calls(lambda net, x: net.norm.train()(x), norm=nn.BatchNorm2d(4)),
    "dropout that stays on": lambda: gauge.Calls(lambda net, x: F.dropout(x)),
    "draws numbers": _draws_numbers,
    "two inputs": gauge.TwoInputs,
    "changes its weights": lambda: gauge.Calls(lambda net, x: (net.conv.weight.data.mul_(2), x)[1]),
}
PROBES = {
    "accuracy": lambda net, x: flexure.accuracy(net, (x, torch.arange(len(x)) % 5), corruption=[0, 1]),
    "activation patterns": lambda net, x: flexure.activation_patterns(net, x, batch_size=4),
    "layers": lambda net, x: flexure.layers(net, x),
    "layers, by blocks": lambda net, x: flexure.layers(net, x, blocks=True),
    "phase diagram": lambda net, x: flexure.phase_diagram(net, x, temperatures=2, cutoffs=(2, 3), batch_size=6),
    "robustness": lambda net, x: flexure.robustness(
        flexure.Specimen(net, bounds=(0, 1)), (x, torch.arange(len(x)) % 5), eps=0.1, steps=1
    ),
    "sensitivity": lambda net, x: flexure.sensitivity(net, x, batch_size=12),
    "sensitivity in float64": lambda net, x: flexure.sensitivity(net, x, dtype="float64"),
    "filters": lambda net, x: flexure.filters(net),
    "sensitivity with channels shuffled": lambda net, x: flexure.sensitivity(
        net, x, shuffle="input", shuffle_draws=1, shuffle_batch_norm="reestimate"
    ),
    "sensitivity by batch statistics": lambda net, x: flexure.sensitivity(net, x, batch_norm="batch"),
}


def fingerprint(model):
    """Everything about a network that a probe could disturb, bit for bit."""
    return {
        "training": [module.training for module in model.modules()],
        "held": [
            (name, id(value))
            for module in model.modules()
            for store in (module._parameters, module._buffers, module._modules)
            for name, value in store.items()
        ],
        "bits": [bits(value) for value in (*model.parameters(), *model.buffers())],
        "places": [value.data_ptr() for value in (*model.parameters(), *model.buffers())],
        "gradients": [None if p.grad is None else (id(p.grad), bits(p.grad)) for p in model.parameters()],
        "trainable": [p.requires_grad for p in model.parameters()],
        "hooks": [
            (key, list(value))
            for module in model.modules()
            for key, value in vars(module).items()
            if "hooks" in key and isinstance(value, dict)
        ],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


def bits(value):
    return value.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


def surroundings():
    """The state of the process that a probe could disturb."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    return {
        "generators": (python, numpy[1].tolist(), numpy[2:], torch.get_rng_state().tolist()),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")),
        "tf32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "precision": (torch.get_float32_matmul_precision(), torch.backends.fp32_precision, torch.get_default_dtype()),
        "modes": torch.overrides._get_current_function_mode_stack(),
        "threads": torch.get_num_threads(),
    }


@pytest.mark.parametrize("probe", PROBES)
@pytest.mark.parametrize("specimen", GAUGES)
def test_a_specimen_leaves_as_it_came(specimen, probe):
    torch.manual_seed(0)
    model, x = GAUGES[specimen](), gauge.images(10)
    before, around, kept = fingerprint(model), surroundings(), x.clone()
    try:
        result = PROBES[probe](model, x)
    except FlexureError as refused:
        result = refused
    assert isinstance(result, Result | FlexureError)
    assert fingerprint(model) == before
    assert surroundings() == around
    assert torch.equal(x, kept)


@pytest.mark.parametrize("specimen", GAUGES)
@pytest.mark.parametrize("raised", [ZeroDivisionError, KeyboardInterrupt])
def test_a_specimen_leaves_as_it_came_also_when_the_body_raised(specimen, raised):
    torch.manual_seed(0)
    model = GAUGES[specimen]()
    before, around = fingerprint(model), surroundings()
    with pytest.raises(raised), mount(flexure.Specimen(model)) as mounted:
        _ = random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        with contextlib.suppress(FlexureError):
            mounted.forward(gauge.images())
        raise raised
    assert fingerprint(model) == before
    assert surroundings() == around


@pytest.mark.parametrize("emissions", [1, 7, 12])
def test_a_network_that_fails_in_the_middle_leaves_as_it_came(emissions):
    model, left = gauge.ResidualNet(), [emissions]

    def fail(module, args, value):
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("the layer broke")

    for module in model.modules():
        module.register_forward_hook(fail)
    before, around = fingerprint(model), surroundings()
    with pytest.raises(flexure.SpecimenError, match=r"ResidualNet: the forward pass failed .* the layer broke"):
        flexure.sensitivity(model, gauge.images())
    assert fingerprint(model) == before
    assert surroundings() == around


@pytest.mark.parametrize("probe", PROBES)
def test_the_surroundings_of_the_user_do_not_matter_and_stay(probe):
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images(10)
    plain = PROBES[probe](model, x).to_frame()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        around = surroundings()
        found = PROBES[probe](model, x).to_frame()
        assert surroundings() == around
    assert found.equals(plain)


def test_two_measurements_in_a_row_are_the_same():
    model, x = gauge.ResidualNet(), gauge.images(10)
    assert flexure.sensitivity(model, x).to_frame().equals(flexure.sensitivity(model, x).to_frame())
