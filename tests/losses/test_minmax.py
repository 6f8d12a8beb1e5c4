"""The Min-Max penalty: every kind by hand, gradients against differences, and what trainings make of it."""

import math

import pytest
import torch
import yaml
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from flexure.errors import ArgumentError, SpecimenError
from flexure.formulas.fuzziness import INDICES, DeLucaTermini, Yager, as_index
from flexure.formulas.memberships import Fixed, Minmax, Quantile
from flexure.formulas.sparsity import excess_kurtosis, hoyer, l1_minus_l2
from flexure.losses import PENALTIES, CostSensitive, MinMaxPenalty
from flexure.models.weights import save_weights
from flexure.runs.training_spec import TrainingSpec
from flexure.training import Recipe, fit

KINDS = ["fuzziness", "l1-l2", "hoyer", "kurtosis", "log-kurtosis", "l1", "l2"]


def net(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(12, 2)).to(dtype)


def holding(weight):
    """A network of one layer with exactly this weight."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).to(weight.dtype)
    layer.weight = nn.Parameter(weight)
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_sum_over_the_convolutions(kind):
    model = net()
    weights = [model[0].weight.detach(), model[2].weight.detach()]
    by_hand = {
        "fuzziness": lambda w: DeLucaTermini()((w * w[0].numel() ** 0.5 + 1) / 2, clamp=1e-3),
        "l1-l2": l1_minus_l2,
        "hoyer": lambda w: 1 - hoyer(w),
        "kurtosis": lambda w: -excess_kurtosis(w),
        "log-kurtosis": lambda w: -math.log1p(max(0, excess_kurtosis(w))),
        "l1": lambda w: w.abs().sum(),
        "l2": lambda w: w.norm() ** 2 / 2,
    }[kind]
    expected = 0.3 * sum(float(by_hand(w)) for w in weights)
    assert MinMaxPenalty(kind, strength=0.3)(model).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_finite_differences(kind):
    weight = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    penalty = MinMaxPenalty(kind, layers="*", interval=Fixed(r=4.0))

    def of(w):
        return penalty(Holder(w))

    assert torch.autograd.gradcheck(of, weight)


class Holder(nn.Module):
    """A module that hands out a tensor for its weight, so that a gradient can be asked of it."""

    def __init__(self, weight) -> None:
        super().__init__()
        self.inner = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
        nn.utils.parametrize.register_parametrization(self.inner, "weight", Gives(weight), unsafe=True)


class Gives(nn.Module):
    def __init__(self, weight) -> None:
        super().__init__()
        self.given = [weight]

    def forward(self, _):
        return self.given[0]


@pytest.mark.parametrize("interval", ["minmax", "symmetric", "quantile", "abs", {"minmax": {"scope": "filter"}}])
@pytest.mark.parametrize("index", list(INDICES))
def test_ends_that_follow_the_weights_have_no_gradient(index, interval):
    weight = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(MinMaxPenalty(layers="*", index=index, interval=interval)(Holder(weight)), weight)
    assert torch.isfinite(slope).all() and slope.abs().max() > 0
    if interval == "minmax":
        low, high = weight.min().item(), weight.max().item()
        free = ((weight - low) / (high - low)).detach().requires_grad_()
        (own,) = torch.autograd.grad(as_index(index)(free, clamp=1e-3), free)
        torch.testing.assert_close(slope, own / (high - low))


@pytest.mark.parametrize("index", list(INDICES))
def test_a_weight_in_the_center_is_not_moved_and_slopes_are_bounded(index):
    weight = torch.tensor([[0.0, 0.5, -0.5, 1e-9, 0.49999999, 3.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(
        MinMaxPenalty(layers="*", index=index, interval=Fixed(r=0.5))(Holder(weight)), weight
    )
    assert slope[0, 0] == 0 and slope[0, [1, 2, 4, 5]].tolist() == [0, 0, 0, 0] and torch.isfinite(slope).all()
    if index == "de_luca_termini":
        edge = torch.full((1, 4), 0.4989, requires_grad=True)
        penalty = MinMaxPenalty(layers="*", interval=Fixed(r=0.5))
        (slope,) = torch.autograd.grad(penalty(Holder(edge)), edge)
        assert (slope < 0).all() and (slope.abs() <= math.log(999) / (4 * math.log(2))).all()


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_have_a_finite_value_and_no_gradient(kind):
    weight = torch.zeros(2, 3, requires_grad=True)
    value = MinMaxPenalty(kind, layers="*", interval=Fixed(r=1.0))(Holder(weight))
    assert math.isfinite(value.item())
    assert torch.autograd.grad(value, weight)[0].abs().max() == 0


def test_a_layer_whose_interval_is_a_point_adds_nothing():
    weight = torch.full((2, 3), 0.7, requires_grad=True)
    value = MinMaxPenalty(layers="*", interval="minmax")(Holder(weight))
    assert value.item() == 0
    half = torch.tensor([[0.7, 0.7], [0.2, 0.9]], dtype=torch.float64, requires_grad=True)
    penalty = MinMaxPenalty(layers="*", interval={"minmax": {"scope": "filter"}}, index="kaufmann_linear", clamp=0)
    (slope,) = torch.autograd.grad(penalty(Holder(half)), half)
    assert slope.tolist() == [[0, 0], [0, 0]]  # one row is a point, of the other both are at an end


def test_weight_decay_and_the_l2_control_take_the_same_step():
    model = net()
    MinMaxPenalty("l2", strength=0.01)(model).backward()
    torch.testing.assert_close(model[0].weight.grad, 0.01 * model[0].weight.detach())
    assert model[4].weight.grad is None


def test_layers_are_chosen_by_name_or_kind_with_factors_of_their_own():
    model = net()
    of = {i: model[i].weight.abs().sum().item() for i in (0, 2, 4)}
    assert MinMaxPenalty("l1", layers="0")(model).item() == pytest.approx(of[0])
    assert MinMaxPenalty("l1", layers=["Linear", "2"])(model).item() == pytest.approx(of[2] + of[4])
    found = MinMaxPenalty("l1", strength=2, layers={"0": 5, "Linear": 0.1})(model).item()
    assert found == pytest.approx(2 * (5 * of[0] + 0.1 * of[4]))


def test_the_interval_before_training_can_be_given():
    model, before = net(), net(1)
    penalty = MinMaxPenalty(interval="init_minmax", before=before.state_dict(), clamp=0)
    expected = 0.0
    for i in (0, 2):
        w, first = model[i].weight.detach(), before[i].weight.detach()
        mu = ((w - first.min()) / (first.max() - first.min())).clamp(0, 1)
        expected += DeLucaTermini()(mu).item()
    assert penalty(model).item() == pytest.approx(expected)
    assert MinMaxPenalty(interval="init_minmax", before=before, clamp=0)(model).item() == pytest.approx(expected)


def test_weights_before_stay_as_they_were_and_are_told_by_their_hash(tmp_path):
    model = net()
    save_weights(model.state_dict(), tmp_path / "before.safetensors")
    given = [model, model.state_dict(), tmp_path / "before.safetensors"]
    penalties = [MinMaxPenalty(interval="init_minmax", before=one, clamp=0) for one in given]
    assert len({repr(one) for one in penalties[1:]}) == 1 and "before=<weights " in repr(penalties[0])
    assert penalties[1] == penalties[2] and len(set(penalties[1:])) == 1
    first = [one(model).item() for one in penalties]
    (tmp_path / "before.safetensors").unlink()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)  # all weights nearer to the center of where they were
    for one, value in zip(penalties, first, strict=True):
        assert one(model).item() > value + 0.1
    assert repr(MinMaxPenalty(interval="init_minmax", before=net(1))) != repr(penalties[0])
    assert "<weights" not in repr(MinMaxPenalty())


def test_a_layer_of_one_weight_adds_nothing_and_gets_no_gradient_that_is_not_a_number():
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 2, 3))
    for kind in ("fuzziness", "l1-l2", "hoyer", "kurtosis", "log-kurtosis"):
        model.zero_grad()
        MinMaxPenalty(kind)(model).backward()
        assert all(layer.weight.grad.isfinite().all() for layer in model), kind


def test_gradients_reach_parametrized_weights_and_transposed_ones_have_filters_by_output():
    layer = weight_norm(nn.ConvTranspose2d(4, 2, 3))
    MinMaxPenalty(interval={"minmax": {"scope": "filter"}})(layer).backward()
    assert all(p.grad is not None for name, p in layer.named_parameters() if name != "bias")
    plain = nn.ConvTranspose2d(2, 3, 2)
    w = plain.weight.detach().transpose(0, 1)
    mu = torch.stack([(f - f.min()) / (f.max() - f.min()) for f in w])
    found = MinMaxPenalty(interval=Minmax(scope="filter"), clamp=0)(plain).item()
    assert found == pytest.approx(DeLucaTermini()(mu).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "fuzzy"}, "MinMaxPenalty: no kind 'fuzzy'. Did you mean 'fuzziness'"),
        ({"strength": -1}, r"strength must be at least 0 and finite, clamp in \[0, 0\.5\); got -1, 0\.001"),
        ({"clamp": 0.5}, r"clamp in \[0, 0\.5\); got 1\.0, 0\.5"),
        ({"interval": "trajectory"}, "take init or init_minmax"),
        ({"index": "shannon"}, "no index of fuzziness 'shannon'"),
        ({"interval": "begin"}, "no interval 'begin'"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ArgumentError, match=words):
        MinMaxPenalty(**options)


def test_networks_that_it_cannot_be_applied_to_are_refused():
    with pytest.raises(
        SpecimenError, match=r"Linear: a Min-Max penalty on convolutions, but it has none\. .* layers='\*'"
    ):
        MinMaxPenalty()(nn.Linear(2, 2))
    with pytest.raises(ArgumentError, match="MinMaxPenalty: no weight matches 'conv9'"):
        MinMaxPenalty(layers="conv9")(net())
    with pytest.raises(SpecimenError, match=r"MinMaxPenalty: 0: this interval needs the weights before training"):
        MinMaxPenalty(interval="init_minmax")(net())
    with pytest.raises(SpecimenError, match=r"0: its weight has shape .* before"):
        MinMaxPenalty(interval="init_minmax", before={"0.weight": torch.zeros(2, 2)})(net())
    with pytest.raises(SpecimenError, match=r"embedding: not drawn by PyTorch's default initializer"):
        MinMaxPenalty(layers="*")(nn.Embedding(3, 2))
    with pytest.raises(ArgumentError, match="before: expected a network, a state dict, or a weights file; got a list"):
        MinMaxPenalty(interval="init_minmax", before=[1])(net())


def test_descent_on_it_leads_to_the_ends_and_every_weight_keeps_its_side():
    model = net()
    start, bound = model[0].weight.detach().clone(), 1 / 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(800):
        optimizer.zero_grad()
        MinMaxPenalty()(model).backward()
        optimizer.step()
    end = model[0].weight.detach()
    assert torch.equal(end.sign(), start.sign())
    assert (end.abs() >= bound * (1 - 2e-3)).all()  # as far as the clamp pushes


@pytest.mark.parametrize("choice", ["minmax", MinMaxPenalty("hoyer", strength=0.1)])
def test_trainings_take_it_by_name_or_as_an_object(choice):
    x, y = torch.rand(40, 1, 6, 6), torch.arange(40) % 2
    model = net(dtype=torch.float32)
    before = MinMaxPenalty()(model).item(), MinMaxPenalty("hoyer")(model).item()
    fit(model, (x, y), epochs=8, lr=0.05, batch_size=8, penalty=choice)
    after = MinMaxPenalty()(model).item(), MinMaxPenalty("hoyer")(model).item()
    assert after[0] < before[0] if choice == "minmax" else after[1] < before[1]
    assert "MinMaxPenalty(kind=" in Recipe(epochs=1, lr=0.1, penalty=choice).settings()["penalty"]
    assert set(PENALTIES) == {"filters", "minmax"}


def test_a_file_or_command_line_gives_it_options():
    asked = yaml.safe_load("""
        {minmax: {kind: fuzziness, strength: 0.1, layers: {conv1: 5, conv2: 0.1}, index: {yager: {p: 1}},
                  interval: {quantile: {q: 0.1, scope: filter}}}}
    """)
    found = TrainingSpec(net="lenet5", data="digits", penalty=asked).recipe().penalty
    assert found == MinMaxPenalty(
        strength=0.1, layers={"conv1": 5, "conv2": 0.1}, index=Yager(p=1), interval=Quantile(q=0.1, scope="filter")
    )
    costs = TrainingSpec(net="lenet5", data="digits", loss={"cost_sensitive": {"protected": 3}}).recipe().loss
    assert costs == CostSensitive(protected=3)
    with pytest.raises(ValueError, match="index of fuzziness yager: no option 'q'"):
        TrainingSpec(net="lenet5", data="digits", penalty={"minmax": {"index": {"yager": {"q": 1}}}})
    with pytest.raises(ValueError, match=r"penalty\.minmax: no option 'strenght'\. Did you mean 'strength'"):
        TrainingSpec(net="lenet5", data="digits", penalty={"minmax": {"strenght": 1}})
