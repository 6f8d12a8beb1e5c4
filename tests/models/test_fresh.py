"""Fresh weights: from the factory, from reset_parameters, or a reason why there are none."""

import pytest
import torch
from torch import nn

from flexure import Specimen
from flexure.models import reinitialized, resolve


def same(one: nn.Module, two: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_the_factory_is_called_again_with_the_seed():
    specimen = resolve("small_cnn", seed=5)
    one, again, other = (reinitialized(specimen, seed) for seed in (0, 0, 1))
    assert same(one, again)
    assert not same(one, other)
    assert not same(one, specimen.model)
    assert not one.training


def test_the_specimens_own_untrained_weights_may_come_again():
    specimen = resolve("small_cnn", seed=5)
    assert same(reinitialized(specimen, 5), specimen.model)


def test_without_a_factory_the_layers_own_reset_is_used_and_statistics_are_forgotten():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        for value in (*model.parameters(), model[1].running_mean):
            value.fill_(7)
    found = reinitialized(Specimen(model), 0)
    assert same(found, reinitialized(Specimen(model), 0))
    assert found[1].weight.tolist() == [1, 1]
    assert found[1].running_mean.tolist() == [0, 0]
    assert found[3].weight.abs().max() < 1
    assert model[3].weight.unique().tolist() == [7]


def test_attention_is_covered():
    assert isinstance(reinitialized(Specimen(nn.TransformerEncoderLayer(8, 2)), 0), nn.Module)


def test_a_parents_own_reset_has_the_last_word():
    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def reset_parameters(self):
            nn.init.constant_(self.inner.weight, 3)

    assert reinitialized(Specimen(Parent()), 0).inner.weight.unique().tolist() == [3]


class Uncovered(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.token = nn.Parameter(torch.ones(2))


def test_a_parameter_that_nothing_resets_is_named():
    reason = reinitialized(Specimen(Uncovered()), 0)
    assert reason == "no fresh weights: reset_parameters does not cover token; give Specimen(factory=…)"


def test_a_factory_that_loads_the_trained_weights_is_seen_through():
    trained = Uncovered()

    def factory():
        model = Uncovered()
        model.load_state_dict(trained.state_dict())
        return model

    assert "the factory gives the trained ones again" in reinitialized(Specimen(trained, factory=factory), 0)


def test_what_fails_is_a_reason_not_an_error():
    def factory():
        raise OSError("disk gone")

    reason = reinitialized(Specimen(nn.Linear(1, 1), factory=factory), 0)
    assert reason == "no fresh weights: calling the factory again failed: OSError: disk gone"
    assert reinitialized(Specimen(nn.ReLU()), 0) == "no fresh weights: the network has no parameters"


@pytest.mark.parametrize("factory", [None, lambda: nn.Linear(2, 2)])
def test_dtype_follows_the_specimen_and_global_generators_are_left_alone(factory):
    specimen = Specimen(nn.Linear(2, 2).double(), factory=factory)
    before = torch.get_rng_state()
    found = reinitialized(specimen, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.weight.dtype == torch.float64
    assert found.weight.isfinite().all()
