"""Running statistics estimated anew: those of what comes in, however it is cut; the network's own stay."""

import copy

import gauge
import pytest
import torch
from torch import nn

from flexure.perturb.normalization import RunningStatistics


def gathered(model, batches):
    statistics = RunningStatistics(model)
    with torch.no_grad(), statistics:
        for batch in batches:
            model(batch)
    return statistics


@pytest.mark.parametrize("size", [1, 3, 8])
def test_a_batch_norm_on_images_gets_the_mean_and_variance_of_all_pixels(size):
    model = nn.Sequential(nn.BatchNorm2d(3)).double().eval()
    x = gauge.images(8).double() * 3 + 5
    statistics = gathered(model, x.split(size))
    assert statistics.settle() == 1
    with torch.no_grad(), statistics:
        found = model(x)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True)
    torch.testing.assert_close(found, (x - mean) / (variance + 1e-5).sqrt(), rtol=1e-12, atol=1e-12)


def test_a_large_offset_does_not_spoil_float32():
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    x = gauge.images(8) * 1e-3 + 5
    statistics = gathered(model, x.split(2))
    statistics.settle()
    _, variance = statistics._settled["0.running_mean"]
    torch.testing.assert_close(variance, x.double().var((0, 2, 3)), rtol=1e-12, atol=0)


def test_later_batch_norms_see_what_earlier_ones_make_of_their_batch_as_in_training():
    model = gauge.seeded(gauge.ResidualNet)
    batches = gauge.images(12).split(4)
    statistics = gathered(model, batches)
    assert statistics.settle() == 5
    other = copy.deepcopy(model)
    inputs = {}
    for name, module in other.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(
                lambda m, args, y, name=name: inputs.setdefault(name, []).append(args[0].clone())
            )
    with torch.no_grad():
        for batch in batches:
            other.train()(batch)
    other.eval()
    for name, seen in inputs.items():
        x = torch.cat(seen).double()
        module = other.get_submodule(name)
        module.running_mean, module.running_var = x.mean((0, 2, 3)).float(), x.var((0, 2, 3)).float()
    with torch.no_grad():
        with statistics:
            found = model(gauge.images())
        torch.testing.assert_close(found, other(gauge.images()), rtol=1e-5, atol=1e-5)


def test_the_networks_own_statistics_stay_and_hold_again_outside():
    model, x = gauge.seeded(gauge.ResidualNet), gauge.images()
    kept, before = {k: v.clone() for k, v in model.state_dict().items()}, model(x)
    statistics = gathered(model, [x])
    statistics.settle()
    with statistics:
        assert not torch.allclose(model(x), before)
    assert torch.equal(model(x), before)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_a_batch_norm_that_trains_all_the_same_is_left_alone():
    model = gauge.Calls(lambda net, x: net.norm.train()(x), norm=nn.BatchNorm2d(4)).eval()
    x = gauge.images()
    statistics = gathered(model, [x])
    assert statistics.settle() == 0
    with torch.no_grad(), statistics:
        found = model(x)
    torch.testing.assert_close(found.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)


def test_a_batch_norm_that_was_not_called_while_gathering_keeps_its_own():
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    statistics = gathered(model, [])
    assert statistics.settle() == 0
    with statistics:
        found = model(gauge.images())
    assert torch.equal(found, model(gauge.images()))


def test_what_has_no_running_statistics_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.InstanceNorm2d(3), nn.GroupNorm(1, 3)).eval()
    x = gauge.images()
    statistics = gathered(model, [x])
    assert statistics.settle() == 0
    with statistics:
        found = model(x)
    assert torch.equal(found, model(x))
