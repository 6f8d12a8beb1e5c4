"""Passes on the bench: batch statistics, which part is the output, fingerprints, and the words for passes that fail."""

import warnings
from collections import namedtuple
from types import SimpleNamespace

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flexure import Specimen
from flexure.bench import BatchStatistics, primary, weights_hash
from flexure.errors import SpecimenError

# Batch norm by the statistics of the batch


@pytest.mark.parametrize("functional", [False, True])
def test_batch_statistics_are_those_of_training_mode_copy_by_copy(functional):
    norm = gauge.seeded(lambda: nn.BatchNorm2d(3))
    nn.init.uniform_(norm.weight)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = gauge.images(12)

    def then(x):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias) if functional else norm(x)

    with torch.no_grad(), BatchStatistics() as statistics:
        statistics.copies = 3
        found = then(x)
        statistics.copies = 1
        whole = then(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    training = nn.BatchNorm2d(3)
    training.load_state_dict(norm.state_dict())
    with torch.no_grad():
        assert torch.allclose(found, torch.cat([training(part) for part in x.chunk(3)]), atol=1e-6)
        assert torch.allclose(whole, training(x), atol=1e-6)
        assert torch.equal(norm(x), F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))


# Which part is the output

T = torch.arange(6.0).view(2, 3)
Named = namedtuple("Named", "logits auxiliary")
RETURNS = {
    "tensor": (T, None),
    "only tensor of a tuple": ((T, None, "x"), None),
    "only tensor of a list": ([T], None),
    "only tensor of a dict": ({"features": T, "loss": None}, None),
    "logits of a dict": ({"hidden": -T, "logits": T}, None),
    "logits of an ordered dict with attributes": (gauge.HFOutput(hidden=-T, logits=T), None),
    "logits of a named tuple": (Named(T, -T), None),
    "logits of an object": (SimpleNamespace(logits=T, hidden=-T), None),
    "key": ({"a": -T, "b": T}, "b"),
    "index": ((-T, T), 1),
    "last": ((-T, T), -1),
    "attribute": (SimpleNamespace(a=-T, b=T), "b"),
    "name in a tuple": (Named(-T, T), "auxiliary"),
    "function": ((-T, {"deep": T}), lambda result: result[1]["deep"]),
    "part with one tensor": ({"a": (T, None), "b": -T}, "a"),
}


@pytest.mark.parametrize("case", RETURNS)
def test_the_output_that_is_meant(case):
    result, output = RETURNS[case]
    assert torch.equal(primary(result, Specimen(nn.Identity(), output=output)), T)


@pytest.mark.parametrize(
    ("result", "output", "words"),
    [
        (
            (T, T),
            None,
            r"the network returns a tuple of 2; which part is the output\? Say so with Specimen\(model",
        ),
        ({"a": T, "b": T}, None, r"returns a dict with keys \['a', 'b'\]; which part is the output"),
        (None, None, r"returns a NoneType; which part"),
        ("text", None, r"returns a str; which part"),
        ((T, T), 2, r"output=2, but the network returns a tuple of 2"),
        ({"a": T}, "b", r"output='b', but the network returns a dict with keys \['a'\]"),
        (T, 0, r"output=0, but the network returns a Tensor"),
        (T, "logits", r"output='logits', but the network returns a Tensor"),
        (SimpleNamespace(a=T), 0, r"output=0, but the network returns a SimpleNamespace"),
    ],
)
def test_an_output_that_cannot_be_told(result, output, words):
    with pytest.raises(SpecimenError, match=f"^net: .*{words}"):
        primary(result, Specimen(nn.Identity(), output=output, name="net"))


# Fingerprints


def test_the_hash_changes_with_every_weight_buffer_name_and_shape():
    model = gauge.seeded(gauge.ResidualNet)
    seen = {weights_hash(model)}
    for value in model.state_dict().values():
        value.view(-1)[-1:].add_(1)
        seen.add(weights_hash(model))
    assert len(seen) == 1 + len(model.state_dict())
    a, b = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
    b.weight.data = a.weight.data.view(2, 3)
    assert len({weights_hash(a), weights_hash(b), weights_hash(nn.Sequential(a))}) == 3


def test_the_hash_does_not_depend_on_layout_and_takes_every_type():
    model = nn.Linear(4, 4)
    hashed = weights_hash(model)
    model.weight.data = model.weight.data.t().contiguous().t()
    assert weights_hash(model) == hashed
    for dtype in (torch.bfloat16, torch.complex64, torch.bool, torch.int64):
        model.register_buffer("extra", torch.ones(3, dtype=dtype))
        hashed, before = weights_hash(model), hashed
        assert hashed != before
    model.register_buffer("extra", torch.empty(0))
    assert len(weights_hash(model)) == 16


# Errors of the forward pass


def _fails(wrong):
    def then(net, x):
        raise wrong

    return then


@pytest.mark.parametrize(
    ("specimen", "shape", "words"),
    [
        (
            gauge.TwoInputs(),
            (3, 8, 8),
            r"shape \(8, 3, 8, 8\)\. TypeError: .*'y'\. A specimen is called with one",
        ),
        (gauge.ResidualNet(), (1, 8, 8), r"Its first convolution takes 3 channels, the images have 1\."),
        (
            Specimen(gauge.linear(), image_size=(8, 8)),
            (3, 9, 8),
            r"It was made for images of 8×8; try image_size=\(",
        ),
        (gauge.linear(), (3, 9, 7), r"shape \(8, 3, 9, 7\)\. RuntimeError: .*Was it made for images of 9×7\?"),
        (gauge.Calls(_fails(KeyError("pixel_values"))), (3, 8, 8), r"KeyError: 'pixel_values'\. "),
        (gauge.Calls(_fails(AssertionError())), (3, 8, 8), r"\. AssertionError\. "),
        (gauge.Calls(_fails(SpecimenError("as it is"))), (3, 8, 8), r"^as it is$"),
    ],
)
def test_a_forward_pass_that_fails_says_on_what_and_why(specimen, shape, words):
    with pytest.raises(SpecimenError, match=words) as failed:
        gauge.passed(specimen, gauge.images(8, shape))
    if not words.startswith("^"):
        assert f"{Specimen.of(specimen).name}: the forward pass failed on a batch of shape" in str(failed.value)


def test_running_out_of_memory_stays_what_it_is():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        gauge.passed(gauge.Calls(_fails(torch.cuda.OutOfMemoryError("CUDA out of memory"))))


def test_scripted_networks_can_be_mounted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.jit.script(gauge.linear())
    assert gauge.passed(model).shape == (8, 5)


def test_arrays_are_numbers_that_numpy_reads():
    assert np.isfinite(gauge.passed(gauge.linear()).numpy()).all()
