"""Our attacks beside those of the Adversarial Robustness Toolbox, and the toolbox's own behind our door."""

import importlib.util

import gauge
import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure import Specimen, rng
from flexure.bench import mount
from flexure.data import hold_out
from flexure.errors import SpecimenError
from flexure.perturb import attacks_library
from flexure.perturb.attacks import classes, fgsm, logits_of, margins, outputs, pgd
from flexure.perturb.attacks_library import MINIMUM, autoattack, carlini_wagner, deepfool, jsma
from flexure.training import fit

if importlib.util.find_spec("art") is None:
    pytest.skip("needs the Adversarial Robustness Toolbox", allow_module_level=True)

BOUNDS = (0.0, 1.0)


@pytest.fixture(scope="module")
def lenet():
    """A LeNet-5 that knows its digits: untrained, gradients are so small that rounding decides their signs."""
    with rng.seeded(0):
        specimen = Specimen(_lenet5(), bounds=BOUNDS, normalize=(0.13, 0.31))
    seen, unseen = hold_out(flexure.load("digits"), 0.15)
    fit(specimen, seen, epochs=4, lr=0.05, batch_size=32)
    batch = unseen.read(range(60))
    return specimen, batch.x, batch.y, batch.index


def _lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def theirs(specimen, shape):
    """The network as the toolbox has it by itself, with its own normalization."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model=specimen.model.eval(),
        loss=nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=10,
        clip_values=BOUNDS,
        preprocessing=tuple(np.float32(part[0]) for part in specimen.normalize),
        device_type="cpu",
    )


@pytest.mark.parametrize("eps", [0.03, 0.1])
def test_fgsm_and_pgd_are_the_toolboxs_pixel_by_pixel(lenet, eps):
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent

    specimen, x, y, index = lenet
    classifier, labels = theirs(specimen, tuple(x.shape[1:])), y.numpy()
    with mount(specimen) as mounted:
        one = fgsm(logits_of(mounted), x, y, eps=eps, bounds=BOUNDS)
        options = {"eps": eps, "bounds": BOUNDS, "steps": 40, "step": 0.1, "starts": ("clean",)}
        climbed = pgd(logits_of(mounted), x, y, index, **options)
        right = outputs(logits_of(mounted), x).argmax(1) == y
    assert float(right.float().mean()) > 0.9 and 0 < float(climbed.last_is_right.float().mean()) < 0.95
    single = FastGradientMethod(classifier, eps=eps, batch_size=60).generate(x.numpy(), y=labels)
    options = {"eps": eps, "eps_step": eps / 10, "max_iter": 40, "batch_size": 60, "verbose": False}
    many = ProjectedGradientDescent(classifier, **options).generate(x.numpy(), y=labels)
    assert np.abs(one.numpy() - single).max() < 1e-6
    assert np.abs(climbed.last.numpy() - many).max() < 1e-6
    assert (classifier.predict(many).argmax(1) == labels).tolist() == climbed.last_is_right.tolist()


def linear(bounds=BOUNDS):
    """Two classes, and how far each image is from the other one in the Euclidean sense."""
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)))
    width = bounds[1] - bounds[0]
    x = bounds[0] + width * (0.4 + 0.2 * gauge.images(12))
    with torch.no_grad():
        model[1].weight /= width
        ahead = (model(x)[:, 0] - model(x)[:, 1]).sort().values
        model[1].bias[1] += (ahead[5] + ahead[6]) / 2
        y = model(x).argmax(1)
        far = -margins(model(x), y) / (model[1].weight[1] - model[1].weight[0]).norm()
    return (lambda x: classes(model(x))), x, y, far


@pytest.mark.parametrize("bounds", [BOUNDS, (0.0, 255.0), (-1.0, 1.0)])
def test_deepfool_goes_just_beyond_the_boundary_of_a_linear_network(bounds):
    f, x, y, far = linear(bounds=bounds)
    found = deepfool(f, x, y, torch.arange(12), bounds=bounds)
    assert (outputs(f, found).argmax(1) != y).all()
    distance = MINIMUM["deepfool"].distance(x, found)
    assert torch.allclose(distance, 1.02 * far.double(), rtol=2e-3, atol=1e-5 * (bounds[1] - bounds[0]))


def test_carlini_and_wagner_come_near_the_boundary_of_a_linear_network():
    f, x, y, far = linear()
    found = carlini_wagner(f, x, y, torch.arange(12), bounds=BOUNDS)
    fooled = outputs(f, found).argmax(1) != y
    ratio = (MINIMUM["carlini-wagner"].distance(x, found) / far)[fooled]
    assert fooled.float().mean() > 0.7 and float(ratio.min()) > 0.999 and float(ratio.median()) < 1.3


def test_jsma_changes_few_pixels_by_much(lenet):
    specimen, x, y, index = (part if isinstance(part, Specimen) else part[:15] for part in lenet)
    with mount(specimen) as mounted:
        f = logits_of(mounted)
        found = jsma(f, x, y, index, bounds=BOUNDS)
        right, fooled = outputs(f, x).argmax(1) == y, outputs(f, found).argmax(1) != y
    count = MINIMUM["jsma"].distance(x, found)
    assert fooled[right].float().mean() > 0.8 and (count[right & fooled] > 0).all()
    assert float(count.max()) <= 0.3 * 784 + 2 and torch.equal(found[~right], x[~right])
    assert float(count[right & fooled].median()) < 80


@pytest.fixture
def few_queries(monkeypatch):
    monkeypatch.setattr(attacks_library, "SQUARE_QUERIES", 100)


def test_autoattack_stays_within_its_budget_and_leaves_no_more_than_pgd(lenet, few_queries):
    specimen, x, y, index = (part if isinstance(part, Specimen) else part[:25] for part in lenet)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    with mount(specimen) as mounted:
        f, eps = logits_of(mounted), 0.06
        found = autoattack(f, x, y, index, eps=eps, bounds=BOUNDS, seed=1)
        again = autoattack(f, x, y, index, eps=eps, bounds=BOUNDS, seed=1)
        left = outputs(f, found).argmax(1) == y
        climbed = pgd(f, x, y, index, eps=eps, bounds=BOUNDS, steps=40)
    assert torch.equal(found, again)
    assert float((found - x).abs().max()) <= eps + 1e-6 and float(found.min()) >= 0 and float(found.max()) <= 1
    assert 25 > int(climbed.is_right.sum()) >= int(left.sum()) and climbed.is_right.any()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("attack", [deepfool, jsma])
def test_weights_get_no_gradients_and_keep_those_they_had(attack):
    model = gauge.seeded(gauge.ResidualNet)
    model(gauge.images(2)).sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    x = gauge.images(3)
    attack(model, x, model(x).argmax(1), torch.arange(3), bounds=BOUNDS)
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())


def test_probabilities_are_refused_where_outputs_before_the_softmax_are_needed():
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Softmax(1)))
    x = gauge.images(3)
    with pytest.raises(SpecimenError, match=r"look like probabilities\. Take the softmax off"):
        autoattack(model, x, model(x).argmax(1), torch.arange(3), eps=0.1, bounds=BOUNDS)


def test_the_probe_reports_them_beside_its_own(lenet, few_queries):
    specimen, x, y, _ = lenet
    options = {"eps": [0.0, 0.05], "attacks": ("deepfool", "autoattack", "jsma"), "steps": 5}
    found = flexure.robustness(specimen, (x[:20], y[:20]), **options)
    table = found.to_frame()
    budget = ["sign-noise", "fgsm", "pgd", "autoattack", "worst"]
    assert table["attack"].tolist() == ["clean", *(name for name in budget for _ in range(2)), "deepfool", "jsma"]
    right = dict(zip(zip(table["attack"], table["eps"], strict=True), table["robust_accuracy"], strict=True))
    assert right["autoattack", 0.0] == right["clean", 0.0] and right["autoattack", 0.05] < right["fgsm", 0.05]
    assert right["worst", 0.05] <= min(right["autoattack", 0.05], right["pgd", 0.05])
    near = table.iloc[-2:]
    assert near["eps"].isna().all() and near["norm"].tolist() == ["l2", "l0"]
    assert (near["success"] == 1 - near["robust_accuracy"] / near["clean_accuracy"]).all()
    for name in ("deepfool", "jsma"):
        row, far = table[table["attack"] == name].iloc[0], found[f"{name}_norm"]
        assert np.isfinite(far).sum() == round(row["success"] * row["clean_accuracy"] * 20) > 5
        assert row["median_norm"] == np.nanmedian(far) and row["median_norm_low"] <= row["median_norm"]
    assert table["median_norm"][:-2].isna().all()
    assert found["image_right"].shape == (13, 20)
