"""One plain loop: the textbook's steps, the same every time, and clear words where it cannot go on."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training.make import dropout_net, images, net, weights

import flexure
from flexure import Specimen
from flexure.data import Batch, TensorImages, hold_out, load
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.models import resolve
from flexure.training import Callback, accuracy, fit


def test_one_step_is_that_of_the_textbook():
    data, model = images(), net()
    batch = data.read(range(10))
    logits = model[1](batch.x.flatten(1).double())
    error = logits.softmax(1) - F.one_hot(batch.y, 3)
    w, b = model[1].weight.detach().clone(), model[1].bias.detach().clone()
    history = fit(model, data, epochs=1, lr=0.5, batch_size=10, weight_decay=0.1, momentum=0.0)
    torch.testing.assert_close(model[1].weight.data, w - 0.5 * (error.T @ batch.x.flatten(1).double() / 10 + 0.1 * w))
    torch.testing.assert_close(model[1].bias.data, b - 0.5 * (error.mean(0) + 0.1 * b))
    assert history.loss == pytest.approx((F.cross_entropy(logits, batch.y).item(),))
    assert history.accuracy == pytest.approx(((logits.argmax(1) == batch.y).double().mean().item(),))


def test_the_cosine_falls_from_lr_to_nearly_nothing_step_by_step():
    history = fit(net(), images(), epochs=4, lr=0.2, batch_size=10)
    expected = [0.1 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert [record.lr for record in history.records] == pytest.approx(expected)
    assert [r.lr for r in fit(net(), images(), epochs=3, lr=0.2, schedule="constant").records] == [0.2] * 3


class Draws(Callback):
    """Draws from the global generators and meddles with the mode: neither may matter."""

    def on_epoch_end(self, epoch, model, record):
        torch.rand(5)
        model.train()


def test_the_same_seed_gives_the_same_weights_whatever_callbacks_draw():
    found = []
    for seed, callbacks in ((0, ()), (0, (Draws(),)), (1, ())):
        model = dropout_net()
        torch.rand(len(found))
        fit(model, images(), epochs=3, lr=0.1, batch_size=4, seed=seed, callbacks=callbacks)
        found.append(weights(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_modes_gradients_of_others_and_global_generators_are_left_alone():
    model = dropout_net()
    model[3].eval()
    before = torch.get_rng_state()
    fit(model, images(), epochs=1, lr=0.1, batch_size=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model] == [True, True, True, False, True]


class Watched:
    """Images that remember which were asked for together."""

    def __init__(self, base):
        self.base, self.asked = base, []
        self.name, self.indices, self.classes = base.name, base.indices, base.classes

    def __len__(self):
        return len(self.base)

    def read(self, positions):
        self.asked.append(list(positions))
        return self.base.read(positions)


def test_every_epoch_has_an_order_of_its_own_and_every_image_once():
    data = Watched(images(10))
    fit(net(), data, epochs=2, lr=0.1, batch_size=5, seed=4)
    epochs = [data.asked[:2], data.asked[2:]]
    assert [sorted(first + second) for first, second in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]


def test_an_image_left_alone_joins_the_batch_before():
    data = Watched(images(9))
    fit(dropout_net(), data, epochs=1, lr=0.1, batch_size=4)
    assert [len(batch) for batch in data.asked] == [4, 5]


def test_normalization_and_the_part_that_is_the_output_are_the_specimens():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.seen = net(), []

        def forward(self, x):
            self.seen.append((x.min().item(), x.max().item()))
            return {"logits": self.net(x), "hidden": x}

    model = Parts()
    data = TensorImages(torch.rand(6, 1, 4, 4).round(), np.arange(6) % 3)
    fit(Specimen(model, normalize=(0.5, 0.25)), data, epochs=1, lr=0.1)
    assert model.seen == [(-2, 2)]


class Half:
    def on_start(self, model, epochs):
        pass


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        ([Draws(), object()], r"callbacks\[1\]: object has no on_start, on_epoch_end, on_end"),
        ([Half()], r"callbacks\[0\]: Half has no on_epoch_end, on_end. A subclass of flexure.training.Callback has"),
        ([Draws], r"callbacks\[0\]: Draws is a class; give Draws\(…\)"),
        (Draws(), r"callbacks: expected a list of callbacks; got Draws. Give \[it\]"),
    ],
)
def test_callbacks_that_cannot_be_told_are_refused_before_the_first_step(callbacks, words):
    model = net()
    before = model[1].weight.clone()
    with pytest.raises(ArgumentError, match=words):
        fit(model, images(), epochs=1, lr=0.1, callbacks=callbacks)
    assert torch.equal(model[1].weight, before)


def test_callbacks_are_told_everything_in_order_with_the_network_in_evaluation_mode():
    told = []

    class Listener(Callback):
        def on_start(self, model, epochs):
            told.append(("start", epochs, model.training))

        def on_epoch_end(self, epoch, model, record):
            told.append((epoch, record.epoch, model.training))

        def on_end(self, model, history):
            told.append(("end", len(history), model.training))

    fit(net(), images(), epochs=2, lr=0.1, callbacks=[Listener()])
    assert told == [("start", 2, False), (1, 1, False), (2, 2, False), ("end", 2, False)]


def test_progress_counts_steps():
    told = []
    fit(net(), images(10), epochs=2, lr=0.1, batch_size=5, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


class Damaged(Watched):
    def read(self, positions):
        batch = self.base.read(positions)
        good = batch.index != 3
        return Batch(batch.x[good], batch.y[good], batch.index[good], ((3, "truncated"),) if not good.all() else ())


def test_images_that_cannot_be_read_are_left_out_and_counted():
    history = fit(net(), Damaged(images(10)), epochs=1, lr=0.1, batch_size=5)
    assert (history.records[0].n, history.records[0].skipped) == (9, 1)
    found = accuracy(net(), Damaged(images(10)), batch_size=1)
    assert (found.n, found.skipped) == (9, 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1; got 0"),
        ({"lr": -0.1}, "lr must be > 0 and finite; got -0.1"),
        ({"lr": math.inf}, "lr must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"batch_size": 2.5}, "batch_size must be a whole number; got 2.5"),
        ({"lr": "0.1"}, "lr must be a number; got '0.1'"),
        ({"corruption": "much"}, "corruption must be a norm, or a change of images; got 'much'"),
        ({"stop": 3}, r"stop must be a rule such as EarlyStop\(patience=3\); got 3"),
        ({"momentum": 1}, r"momentum must be in \[0, 1\); got 1"),
        ({"weight_decay": -1}, "weight_decay must be at least 0"),
        ({"optimizer": "sdg"}, "no optimizer 'sdg'. Did you mean 'sgd'"),
        ({"schedule": "cosin"}, "no schedule 'cosin'. Did you mean 'cosine'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    model = net()
    before = weights(model)
    with pytest.raises(ArgumentError, match=words):
        fit(model, images(), **{"epochs": 1, "lr": 0.1, **options})
    assert torch.equal(weights(model), before)


def test_labels_are_needed_and_have_to_fit():
    with pytest.raises(DataError, match=r"tensors: image . has no label"):
        fit(net(), torch.rand(3, 1, 4, 4), epochs=1, lr=0.1)
    words = "Sequential has outputs for classes 0 to 2, but there is an image of class 4. .* with num_classes=5"
    with pytest.raises(DataError, match=words):
        fit(net(), images(classes=5), epochs=1, lr=0.1)
    single = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    words = "outputs for classes 0 to 1, but there is an image of class 2. One output tells two classes apart"
    with pytest.raises(DataError, match=words):
        fit(single, images(classes=3), epochs=1, lr=0.1, loss="hinge")
    with pytest.raises(DataError, match="has no label"):
        accuracy(net(), torch.rand(3, 1, 4, 4))


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_modes_put_back():
    model = net().eval()
    with pytest.raises(SpecimenError, match=r"the loss is nan at epoch 1, step 1 \(lr 0.1\). A smaller lr may help"):
        fit(model, (torch.full((3, 1, 4, 4), torch.nan), torch.zeros(3, dtype=torch.int64)), epochs=1, lr=0.1)
    assert not model[1].training


def test_networks_that_cannot_be_trained_are_explained():
    with pytest.raises(SpecimenError, match="Flatten: it has no parameters that can be trained"):
        fit(nn.Flatten(), images(), epochs=1, lr=0.1)
    with pytest.raises(SpecimenError, match=r"expected logits \(batch, classes\); got shape \(10, 3, 4, 4\)"):
        fit(nn.Conv2d(1, 3, 1), images(), epochs=1, lr=0.1)
    with pytest.raises(SpecimenError, match="first convolution takes 3 channels, the images have 1"):
        fit(nn.Conv2d(3, 3, 1), images(), epochs=1, lr=0.1)


def test_accuracy_is_a_share_with_its_error_and_leaves_the_network_alone():
    class Says(nn.Module):
        def forward(self, x):
            return F.one_hot(torch.zeros(len(x), dtype=torch.int64), 3).double()

    model = Says().train()
    found = accuracy(model, images(10), batch_size=3)
    assert (found.value, found.n) == (0.4, 10)
    assert found.se == pytest.approx(math.sqrt(0.4 * 0.6 / 9))
    assert found.se == pytest.approx(flexure.accuracy(model, images(10))["accuracy_se"][0])
    assert model.training


def test_the_small_cnn_learns_the_digits():
    kept, held = hold_out(load("digits", limit=600), 0.25)
    specimen = resolve("small_cnn")
    before = accuracy(specimen, held).value
    history = fit(specimen, kept, epochs=6, lr=0.05, batch_size=32)
    assert before < 0.3
    assert history.loss[-1] < history.loss[0] / 2
    assert accuracy(specimen, held).value > 0.9


@pytest.mark.slow
def test_the_small_cnn_reaches_97_percent_on_all_digits():
    kept, held = hold_out(load("digits"), 0.2)
    specimen = resolve("small_cnn")
    fit(specimen, kept, epochs=10, lr=0.05, weight_decay=5e-4)
    assert accuracy(specimen, held).value > 0.97
