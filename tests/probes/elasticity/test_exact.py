"""Steps of finite size: closed forms, both routes, every kind of step, and what they say of themselves."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from flexure import linear_twin
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.losses import BinaryCrossEntropy, CrossEntropy, Squared
from flexure.models import resolve
from flexure.probes.elasticity import elasticity
from tests import gauge
from tests.probes.elasticity.test_limit import images, mlp


class Skip(nn.Module):
    """Linear layers, a sum, a layer that is used twice, another without bias and one that is frozen."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)

    def forward(self, x):
        h = torch.relu(self.first(torch.flatten(x, 1)))
        return self.head(h + self.second(self.frozen(self.second(h).tanh()).relu()))


def by_hand(model, x, y, loss, output, optimizer, count=1):
    """Change of every prediction by steps on each image, with a copy of the network and PyTorch's own optimizer."""
    rows = []
    for image, label in zip(x, y, strict=True):
        twin = copy.deepcopy(model)
        taken = optimizer(twin)
        for _ in range(count):
            taken.zero_grad()
            loss(twin(image[None]), label[None]).sum().backward()
            taken.step()
        rows.append((twin(x) - model(x))[:, output].detach().numpy())
    return np.stack(rows)


@pytest.mark.parametrize("step", [1e-2, 1.0])
@pytest.mark.parametrize("route", ["rank_one", "loop"])
def test_an_affine_network_at_any_step(step, route):
    x, y = images()
    found = elasticity(mlp(16, 1), (x, y), step=step, route=route)
    flat = x.flatten(1).numpy()
    np.testing.assert_allclose(found["kernel"], flat @ flat.T + 1, rtol=1e-11)
    assert found.provenance["route"] == route


@pytest.mark.parametrize("half", [True, False])
def test_two_linear_layers_have_a_term_of_the_steps_size(half):
    (x, y), step = images(), 0.05
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5, bias=False), nn.Linear(5, 1, bias=False)).double()
    with torch.no_grad():
        flat, w, a = x.flatten(1), model[1].weight, model[2].weight[0]
        f = flat @ w.T @ a
        residual = (f - y) * (1 if half else 2)
        hidden = flat @ w.T
        expected = a.square().sum() * (flat @ flat.T) + hidden @ hidden.T
        expected = expected - step * (residual * f)[:, None] * (flat @ flat.T)
    found = elasticity(model, (x, y), step=step, loss={"squared": {"half": half}})
    np.testing.assert_allclose(found["kernel"], expected, rtol=1e-11)


@pytest.mark.parametrize("route", ["rank_one", "loop"])
@pytest.mark.parametrize("output", [0, 2])
def test_it_is_what_steps_on_copies_give(route, output):
    model, (x, _) = gauge.seeded(lambda: Skip().double()), images()
    y = torch.arange(7) % 3
    found = elasticity(model, (x, y), step=0.1, output=output, route=route)
    watched = lambda out, label: Squared()(out[:, [output]], (label == output).long())  # noqa: E731
    expected = by_hand(model, x, y, watched, output, lambda twin: torch.optim.SGD(twin.parameters(), lr=0.1))
    np.testing.assert_allclose(found["relative_signed"], expected / np.diagonal(expected)[:, None], rtol=1e-9)
    slope = 2 * (model(x)[:, output].detach() - (y == output).double()).numpy()
    np.testing.assert_allclose(found["kernel"], expected / (-0.1 * slope)[:, None], rtol=1e-9)


OPTIMIZERS = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.1),
    "momentum": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda net: torch.optim.Adam(net.parameters(), lr=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("count", [1, 3])
def test_any_optimizer_steps_from_the_state_it_is_in(name, count):
    model, (x, y) = mlp(16, 9, 1), images()
    optimizer = OPTIMIZERS[name](model)
    for _ in range(2):
        optimizer.zero_grad()
        Squared()(model(x), y).sum().backward()
        optimizer.step()
    optimizer.zero_grad()
    state = copy.deepcopy(optimizer.state_dict())

    def continued(twin):
        again = OPTIMIZERS[name](twin)
        again.load_state_dict(copy.deepcopy(state))
        return again

    found = elasticity(model, (x, y), step=0.1, optimizer=optimizer, steps=count)
    expected = by_hand(model, x, y, Squared(), 0, continued, count)
    np.testing.assert_allclose(found["relative_signed"], expected / np.diagonal(expected)[:, None], rtol=1e-9)
    assert str(optimizer.state_dict()) == str(state)


def test_in_sequence_each_image_begins_where_the_one_before_it_ended():
    model, (x, y) = mlp(16, 9, 1), images()
    found = elasticity(model, (x, y), step=0.05, sequential=True)
    twin = copy.deepcopy(model)
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        before = twin(x).detach()
        optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)
        Squared()(twin(image[None]), label[None]).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        moved = (twin(x).detach() - before)[:, 0].numpy()
        np.testing.assert_allclose(found["relative_signed"][i], moved / moved[i], rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "loss", "output"),
    [
        (mlp(16, 9, 1, activation=nn.Tanh), "squared", None),
        (mlp(16, 9, 1, activation=nn.Tanh), "binary_cross_entropy", None),
        (nn.Sequential(mlp(16, 9, 1, activation=nn.Tanh), nn.Sigmoid()), BinaryCrossEntropy(of="probabilities"), None),
        (mlp(16, 9, 3, activation=nn.Tanh), "squared", 1),
    ],
)
def test_small_steps_reach_the_limit_in_proportion(model, loss, output):
    x, y = images()
    limit = elasticity(model, (x, y), output=output)["kernel"]
    gaps = [
        np.linalg.norm(elasticity(model, (x, y), step=step, loss=loss, output=output)["kernel"] - limit)
        for step in (1e-3, 1e-4)
    ]
    assert gaps[1] < 1e-3 * np.linalg.norm(limit) and gaps[0] / gaps[1] == pytest.approx(10, rel=0.1)


def test_cross_entropy_moves_an_output_with_all_others():
    model, (x, _) = mlp(16, 9, 3), images()
    y = torch.arange(7) % 3
    found = elasticity(model, (x, y), step=0.1, loss="cross_entropy", output=2)
    expected = by_hand(model, x, y, CrossEntropy(), 2, lambda twin: torch.optim.SGD(twin.parameters(), lr=0.1))
    np.testing.assert_allclose(found["relative_signed"], expected / np.diagonal(expected)[:, None], rtol=1e-9)
    assert np.isnan(found["kernel"]).all()


@pytest.mark.parametrize("route", ["rank_one", "loop"])
def test_other_points_may_be_watched(route):
    model, (x, y) = mlp(16, 9, 6, 1), images(9)
    whole = elasticity(model, (x, y), step=0.1, route=route)
    part = elasticity(model, (x[:4], y[:4]), points=x[4:], step=0.1, route=route)
    for name in ("kernel", "relative", "relative_signed"):
        np.testing.assert_allclose(part[name], whole[name][:4, 4:], rtol=1e-9)


@pytest.mark.parametrize("is_other", [False, True])
@pytest.mark.parametrize("make", [Skip, lambda: mlp(16, 12, 10, 2)])
def test_how_many_images_are_stepped_on_at_a_time_changes_nothing(make, is_other, monkeypatch):
    (x, y), model = images(7), gauge.seeded(lambda: make().double(), 2)
    points = images(5, seed=3)[0] if is_other else None
    found = []
    for numbers in (1, 12 * 7 * 3, 2**18):
        monkeypatch.setattr("flexure.probes.elasticity.exact._NUMBERS", numbers)
        found.append(elasticity(model, (x, y), points=points, step=0.1, output=1, route="rank_one")["kernel"])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-11)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-11)
    by_loop = elasticity(model, (x, y), points=points, step=0.1, output=1, route="loop")["kernel"]
    np.testing.assert_allclose(found[1], by_loop, rtol=1e-10)


def test_the_cheaper_route_is_taken():
    x, y = images(9)
    assert elasticity(mlp(16, 9, 6, 1), (x, y), step=0.1).provenance["route"] == "rank_one"
    conv = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1)).double()
    assert elasticity(conv, (x, y), step=0.1).provenance["route"] == "loop"
    with pytest.raises(
        ArgumentError, match="needs linear layers and elementwise functions alone; Sequential has others"
    ):
        elasticity(conv, (x, y), step=0.1, route="rank_one")


def test_a_zero_residual_is_said_and_costs_its_own_row():
    model, (x, y) = mlp(16, 1), images()
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.fill_(1.0)
    found = elasticity(model, (x, y), step=0.1)
    assert np.isnan(found["relative"][1]).all() and np.isfinite(found["relative"][0]).all()
    assert any("zero residual at 3 images (the first: image 1)" in note for note in found.notes)
    assert np.isfinite(elasticity(model, (x, y))["kernel"]).all()


def test_rounding_is_said():
    model, (x, y) = mlp(16, 64, 1).float(), images()
    found = elasticity(model, (x.float(), y), step=1e-8)
    assert any("Rounding in float32 is" in note and "dtype='float64'" in note for note in found.notes)
    assert not any("Rounding" in note for note in elasticity(model, (x, y), step=1e-3, dtype="float64").notes)
    in_sequence = elasticity(model, (x.float(), y), step=0.05, sequential=True)
    assert 0 < in_sequence.provenance["diagnostics"]["rounding"] < 1e-4


def test_what_a_step_does_to_the_residual_and_to_kinks_is_counted():
    model, (x, y) = mlp(16, 9, 1), images()
    found, limit = elasticity(model, (x, y), step=1e-6), elasticity(model, (x, y))
    told = found.provenance["diagnostics"]
    assert told["linearity"] == pytest.approx(2e-6 * np.diagonal(limit["kernel"]).max(), rel=1e-3)
    assert told["rounding"] == 0 and told["crossed"] == 0
    large = elasticity(model, (x, y), step=1.0)
    assert large.provenance["diagnostics"]["crossed"] > 0
    assert any("too large to be read as the limit" in note for note in large.notes)
    linear = elasticity(mlp(16, 9, 1, activation=nn.Identity), (x, y), step=1.0)
    assert linear.provenance["diagnostics"]["crossed"] == 0


def test_a_graph_that_does_not_say_what_the_network_says_is_not_followed():
    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 9), nn.Linear(9, 1)

        def forward(self, x):
            return self.second(torch.relu(self.first(x.flatten(1))))

    x, y = images()
    twin = linear_twin(gauge.seeded(lambda: Called().double()))
    found = elasticity(twin, (x, y), step=1e-6)
    assert found.provenance["route"] == "loop"
    np.testing.assert_allclose(found["kernel"], elasticity(twin, x)["kernel"], rtol=1e-3)
    early = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 1)).double()
    assert elasticity(early, (x, y), step=1e-6).provenance["route"] == "loop"


@pytest.mark.parametrize("route", ["rank_one", "loop"])
def test_a_loss_that_returns_a_mean_steps_as_far(route):
    model, (x, y) = mlp(16, 9, 1), images()
    mean = elasticity(model, (x, y), step=0.1, route=route, loss=lambda out, label: (out[:, 0] - label).square().mean())
    plain = elasticity(model, (x, y), step=0.1)
    np.testing.assert_allclose(mean["kernel"], plain["kernel"], rtol=1e-10)


@pytest.mark.parametrize(
    ("points", "error", "words"),
    [
        (
            torch.full((2, 1, 4, 4), torch.nan, dtype=torch.float64),
            DataError,
            "none of the points can be watched",
        ),
        (torch.rand(2, 1, 5, 5, dtype=torch.float64), SpecimenError, "the forward pass failed on a batch of shape"),
    ],
)
@pytest.mark.parametrize("step", [None, 0.1])
def test_points_that_cannot_be_watched_are_refused(points, error, words, step):
    with pytest.raises(error, match=words):
        elasticity(mlp(16, 1), images(), points=points, step=step)


@pytest.mark.parametrize("name", ["fnn", "fnn3", "fnn_skip"])
def test_the_papers_networks_are_followed(name):
    model = resolve(name, width=0.001, image_size=(4, 4), num_classes=1).model.double()
    x, y = images()
    found = [elasticity(model, (x, y), step=0.1, route=route)["kernel"] for route in ("rank_one", "loop")]
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_an_optimizer_of_other_weights_is_refused():
    model, (x, y) = mlp(16, 1), images()
    other = torch.optim.SGD(mlp(16, 1).parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match="must be one of this network's own trainable parameters"):
        elasticity(model, (x, y), step=0.1, optimizer=other)


def test_a_loss_of_all_outputs_is_not_cut_down_to_one():
    model, (x, _) = mlp(16, 3), images()
    y = torch.arange(7) % 3
    found = elasticity(model, (x, y), step=0.1, loss=nn.CrossEntropyLoss(reduction="none"), output=2)
    expected = elasticity(model, (x, y), step=0.1, loss="cross_entropy", output=2)
    np.testing.assert_allclose(found["relative"], expected["relative"], rtol=1e-12)
    assert any("there is no kernel of one alone" in note for note in found.notes)


def test_labels_are_needed_and_looked_at():
    model, (x, y) = mlp(16, 1), images()
    with pytest.raises(DataError, match="image 0: no label; a step needs whole numbers as labels"):
        elasticity(model, x, step=0.1)
    fives = y.index_fill(0, torch.tensor([4]), 5)
    assert np.isfinite(elasticity(model, (x, fives), step=0.1)["kernel"]).all()
    with pytest.raises(DataError, match="image 4: label 5; a step needs labels 0 to 1"):
        elasticity(model, (x, fives), step=0.1, loss="binary_cross_entropy")
    with pytest.raises(ArgumentError, match="the network has 3 outputs, and a finite step compares one prediction"):
        elasticity(mlp(16, 3), (x, y), step=0.1)


def test_the_network_and_its_random_numbers_are_left_alone():
    model, (x, y) = mlp(16, 9, 1), images()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    for route in ("rank_one", "loop"):
        elasticity(model, (x, y), step=0.1, route=route)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
