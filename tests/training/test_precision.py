"""Numbers of the forward pass: what is cast, what is not, and that it still learns."""

import pytest
import torch
from torch import nn
from training.make import images

from flexure.training import fit


def watched(seen: list[torch.dtype]) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    model[1].register_forward_hook(lambda module, args, out: seen.append((module.training, out.dtype)))
    return model


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_the_forward_pass_of_training_is_cast_and_that_of_testing_is_not(precision, dtype):
    seen: list = []
    model = watched(seen)
    history = fit(model, images(), epochs=30, lr=0.3, precision=precision, test=images(), test_every=30)
    assert set(seen) == {(True, dtype), (False, torch.float32)}
    assert history.loss[-1] < history.loss[0] * 0.8
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def test_half_precision_comes_near_full_precision():
    losses = {}
    for precision in ("float32", "bfloat16", "float16"):
        losses[precision] = fit(watched([]), images(), epochs=5, lr=0.1, precision=precision).loss[-1]
    assert losses["float16"] == pytest.approx(losses["float32"], rel=0.01)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert len(set(losses.values())) == 3


def test_gradients_that_vanish_in_float16_are_scaled_up():
    """A loss so small that its gradients are below what float16 holds (6e-8)."""
    model = watched([])
    before = model[1].weight.detach().clone()
    tiny = lambda outputs, y: outputs.square().sum(1) * 1e-8  # noqa: E731 - a name for one line
    fit(model, images(), epochs=1, lr=1.0, precision="float16", loss=tiny, momentum=0)
    assert not torch.equal(model[1].weight, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_comes_near_the_cpu(precision):
    options = {"epochs": 5, "lr": 0.1, "precision": precision, "augment": ("crop", "flip"), "corruption": 0.5}
    one, two = watched([]), watched([])
    here = fit(one, images(), **options)
    there = fit(two, images(), device="cuda", **options)
    assert there.loss == pytest.approx(here.loss, rel=0.03)
    assert next(two.parameters()).is_cuda
