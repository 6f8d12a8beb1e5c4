"""What decides a training: which weights decay, which optimizer steps, which tests are made and kept."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training.make import dropout_net, images, net, weights

from flexure.errors import ArgumentError, SpecimenError
from flexure.losses import LOSSES, BinaryCrossEntropy
from flexure.training import Callback, EpochRecord, Recipe, accuracy, fit


def test_weight_decay_may_spare_biases():
    data, model = images(), net()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}

    def nothing(outputs, y):
        return outputs.sum(1) * 0

    fit(model, data, epochs=1, lr=0.5, weight_decay=0.1, decay="matrices", loss=nothing, momentum=0)
    torch.testing.assert_close(model[1].weight.data, before["1.weight"] * 0.95)
    assert torch.equal(model[1].bias.data, before["1.bias"])
    fit(model, data, epochs=1, lr=0.5, weight_decay=0.1, loss=nothing, momentum=0)
    torch.testing.assert_close(model[1].bias.data, before["1.bias"] * 0.95)


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"momentum": 0.5}, lambda p: torch.optim.SGD(p, 0.1, 0.5)),
        ({"nesterov": True}, lambda p: torch.optim.SGD(p, 0.1, 0.9, nesterov=True)),
        ({"optimizer": "adam"}, lambda p: torch.optim.Adam(p, 0.1)),
    ],
)
def test_optimizers_are_those_of_torch(options, reference):
    data, one, two = images(), net(), net()
    fit(one, data, epochs=3, lr=0.1, batch_size=10, schedule="constant", **options)
    optimizer = reference(two.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        batch = data.read(range(10))
        F.cross_entropy(two(batch.x.double()), batch.y).backward()
        optimizer.step()
    torch.testing.assert_close(weights(one), weights(two))


def test_a_loss_may_give_the_mean_alone_and_a_penalty_is_added_to_the_gradient_not_to_the_record():
    data, one, two = images(), net(), net()
    options = {"epochs": 1, "lr": 0.1, "batch_size": 10, "momentum": 0.0}
    history = fit(
        one, data, loss=F.cross_entropy, penalty=lambda model: 0.5 * model[1].weight.square().sum(), **options
    )
    plain = fit(two, data, weight_decay=1.0, **options)
    torch.testing.assert_close(one[1].weight, two[1].weight)
    assert history.loss == pytest.approx(plain.loss)
    assert math.isnan(history.records[0].loss_se)
    assert plain.records[0].loss_se > 0


def test_records_hold_means_over_images_with_their_errors():
    data, model = images(), net()
    batch = data.read(range(10))
    losses = F.cross_entropy(model(batch.x.double()), batch.y, reduction="none")
    record = fit(model, data, epochs=1, lr=1e-9, batch_size=10, test=data).records[0]
    assert record.loss == pytest.approx(losses.mean().item())
    assert record.loss_se == pytest.approx(losses.std().item() / 10**0.5)
    assert record.accuracy_se == pytest.approx(math.sqrt(record.accuracy * (1 - record.accuracy) / 9))
    assert record.test_loss == pytest.approx(record.loss, abs=1e-6)
    assert record.test_loss_se == pytest.approx(record.loss_se, abs=1e-6)
    assert (record.test_accuracy, record.test_n) == (record.accuracy, 10)


def test_one_output_learns_two_classes_by_the_hinge_loss():
    data = images(10, classes=2)
    model = net(1)
    history = fit(model, data, epochs=60, lr=0.5, loss="hinge", schedule="constant", test=data)
    assert history.loss[-1] < history.loss[0] / 2
    signs = model(data.read(range(10)).x.double())[:, 0] > 0
    right = (signs.long() == data.read(range(10)).y).double().mean().item()
    assert history.records[-1].test_accuracy == right


@pytest.mark.parametrize("loss", ["squared", "binary_cross_entropy", BinaryCrossEntropy(of="probabilities")])
def test_one_output_is_judged_as_its_loss_means_it(loss):
    data = images(10, classes=2)
    model = nn.Sequential(net(1), nn.Sigmoid()) if not isinstance(loss, str) else net(1)
    history = fit(model, data, epochs=40, lr=0.1, loss=loss, schedule="constant", test=data)
    assert history.loss[-1] < history.loss[0]
    threshold = 0.0 if loss == "binary_cross_entropy" else 0.5
    batch = data.read(range(10))
    right = ((model(batch.x.double())[:, 0] > threshold).long() == batch.y).double().mean().item()
    judge = LOSSES[loss]() if isinstance(loss, str) else loss
    assert history.records[-1].test_accuracy == accuracy(model, data, loss=judge).value == right


def test_the_best_weights_are_the_first_with_the_best_accuracy_on_the_test_images():
    data, model = images(), net()
    kept = []

    class Keep:
        def on_start(self, model, epochs): ...

        def on_epoch_end(self, epoch, model, record):
            kept.append((record.test_accuracy, weights(model).clone()))

        def on_end(self, model, history): ...

    history = fit(model, data, epochs=6, lr=2.0, schedule="constant", test=data, callbacks=[Keep()])
    accuracies = [value for value, _ in kept]
    assert history.best_epoch == accuracies.index(max(accuracies)) + 1
    best = torch.cat([value.flatten() for value in history.best.values()])
    assert torch.equal(best, kept[history.best_epoch - 1][1])
    assert fit(net(), data, epochs=1, lr=0.1).best is None


def test_tests_are_made_every_so_often_and_at_the_end():
    records = fit(net(), images(), epochs=5, lr=0.1, test=images(), test_every=2).records
    assert [record.test_n > 0 for record in records] == [False, True, False, True, True]
    assert math.isnan(records[0].test_error)
    assert isinstance(records[0], EpochRecord)


def test_callbacks_that_listen_to_steps_are_told_with_the_network_in_evaluation_mode():
    told = []

    class Steps(Callback):
        def on_step_end(self, step, model):
            told.append((step, model.training))
            model.train()

    fit(net(), images(), epochs=2, lr=0.1, batch_size=5, callbacks=[Steps()])
    assert told == [(1, False), (2, False), (3, False), (4, False)]


def test_listening_to_steps_changes_nothing():
    class Draws(Callback):
        def on_step_end(self, step, model):
            torch.rand(3)

    one, two = dropout_net(), dropout_net()
    fit(one, images(), epochs=2, lr=0.1, batch_size=5, callbacks=[Draws()])
    fit(two, images(), epochs=2, lr=0.1, batch_size=5)
    assert torch.equal(weights(one), weights(two))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decay": "matrix"}, "no decay 'matrix'. Did you mean 'matrices'"),
        ({"precision": "float8"}, "no precision 'float8'. Did you mean 'float"),
        ({"loss": "hing"}, "no loss 'hing'. Did you mean 'hinge'"),
        ({"penalty": "filter"}, "no penalty 'filter'. Did you mean 'filters'"),
        ({"augment": ["crop", "flop"]}, "no augment 'flop'. Did you mean 'flip'"),
        ({"nesterov": True, "optimizer": "adam"}, "nesterov must be of SGD with a momentum"),
        ({"test_every": 0}, "test_every must be at least 1; got 0"),
    ],
)
def test_names_that_do_not_exist_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        Recipe(epochs=1, lr=0.1, **options)


def test_settings_are_plain_values():
    found = Recipe(epochs=1, lr=0.1, augment="flip", loss=F.mse_loss).settings()
    assert (found["augment"], found["loss"], found["schedule"]) == (["RandomFlip()"], "mse_loss", "Cosine()")


def test_a_loss_that_is_not_finite_leaves_the_weights_before_the_step():
    model = net()
    before = weights(model).clone()
    with pytest.raises(SpecimenError, match="the loss is inf at epoch 1, step 1"):
        fit(model, images(), epochs=1, lr=0.1, loss=lambda outputs, y: outputs.sum(1) + math.inf)
    assert torch.equal(weights(model), before)


def test_a_network_without_the_outputs_a_loss_needs_is_refused():
    with pytest.raises(SpecimenError, match="the hinge loss needs one output, the network has 3"):
        fit(net(), images(), epochs=1, lr=0.1, loss="hinge")
    with pytest.raises(SpecimenError, match="needs an output per class"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(16, 1)), images(classes=2), epochs=1, lr=0.1)


@pytest.mark.parametrize(("n", "size"), [(12, 4), (12, 5), (9, 4), (5, 1), (1, 4), (3, 8)])
def test_the_steps_of_an_epoch_are_counted_as_they_are_made(n, size):
    told = []
    fit(net(), images(n), epochs=1, lr=0.1, batch_size=size, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (len(told), Recipe(epochs=1, lr=0.1, batch_size=size).batches(n))
