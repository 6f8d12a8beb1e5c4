"""Attacks stay where they may go, find what can be found on paper, and do not depend on who else is attacked."""

import gauge
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.attacks import plain_pgd
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.perturb import attacks
from flexure.perturb.attacks import Box, classes, fgsm, margins, pgd, sign_noise, slope, uniform_in

BOUNDS = (0.0, 1.0)


def network(seed=0):
    model = gauge.seeded(gauge.ResidualNet, seed).double().requires_grad_(False)
    return lambda x: model(x)


def some(n=6, classes=10):
    return gauge.images(n).double(), torch.arange(n) % classes, torch.arange(n) * 7


def linear(n_classes=2):
    """A linear network with its weights ``(classes, pixels)``."""
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, n_classes))).double()
    return (lambda x: classes(model(x))), model[1].weight.detach()


def far_from_bounds(n=6):
    return 0.4 + 0.2 * gauge.images(n).double()


@settings(max_examples=20, deadline=None)
@given(
    eps=st.floats(0, 2),
    seed=st.integers(0, 9),
    start=st.sampled_from(attacks.STARTS),
    low=st.sampled_from([-1.0, 0.0, 0.3]),
)
def test_every_attack_stays_within_eps_and_within_the_bounds(eps, seed, start, low):
    x, y, index = some(4)
    bounds = (low, low + 0.8)
    x = x.clamp(*bounds)
    options = {"eps": eps, "bounds": bounds}
    found = pgd(network(), x, y, index, steps=3, starts=(start,), seed=seed, **options)
    for images in (
        found.images,
        found.last,
        fgsm(network(), x, y, **options),
        sign_noise(x, index, seed=seed, **options),
        uniform_in(x, index, seed=seed, **options),
    ):
        assert float((images - x).abs().max()) <= eps + 1e-15
        assert bounds[0] <= float(images.min()) and float(images.max()) <= bounds[1]
        assert images.shape == x.shape and not images.requires_grad


@pytest.mark.parametrize("eps", [0.0, 0.01, 0.1, 0.7])
def test_one_step_of_size_eps_from_the_clean_image_is_fgsm_exactly(eps):
    x, y, index = some()
    found = pgd(network(), x, y, index, eps=eps, bounds=BOUNDS, steps=1, step=1.0, starts=("clean",))
    assert torch.equal(found.last, fgsm(network(), x, y, eps=eps, bounds=BOUNDS))


@pytest.mark.parametrize("loss", list(attacks.LOSSES))
def test_on_a_linear_network_the_margin_moves_by_eps_times_the_norm_and_no_attack_does_better(loss):
    f, weight = linear()
    x, eps, y = far_from_bounds(), 0.05, torch.tensor([0, 1, 0, 1, 0, 1])
    most = margins(f(x), y) + eps * (weight[1] - weight[0]).abs().sum()
    assert torch.allclose(margins(f(fgsm(f, x, y, eps=eps, bounds=BOUNDS, loss=loss)), y), most, rtol=1e-12)
    found = pgd(f, x, y, torch.arange(6), eps=eps, bounds=BOUNDS, loss=loss, steps=10)
    assert torch.allclose(found.margin, most, rtol=1e-12)
    assert torch.allclose(margins(f(found.images), y), most, rtol=1e-12)


def test_a_single_output_is_attacked_as_one_of_two_classes():
    f, weight = linear(1)
    x, y, eps = far_from_bounds(), torch.tensor([0, 1, 0, 1, 0, 1]), 0.05
    most = margins(f(x), y) + eps * weight.abs().sum()
    assert f(x).shape == (6, 2) and torch.equal(f(x)[:, 0], torch.zeros(6).double())
    assert torch.allclose(margins(f(fgsm(f, x, y, eps=eps, bounds=BOUNDS)), y), most, rtol=1e-12)


def test_pgd_is_the_plain_loop_image_by_image_and_reports_the_worst_on_the_way():
    x, y, index = some(3)
    f, options = network(), {"eps": 0.1, "bounds": BOUNDS, "steps": 6}
    found = pgd(f, x, y, index, step=0.3, starts=("clean",), **options)
    for i in range(len(x)):
        way = torch.stack(plain_pgd(f, x[i], int(y[i]), step=0.3 * 0.1, **options))
        met = margins(f(way), y[i].expand(len(way)))
        assert torch.allclose(found.last[i], way[-1], atol=1e-12)
        assert float(found.margin[i]) == pytest.approx(float(met.max()), rel=1e-9)
        assert torch.allclose(found.images[i], way[met.argmax()], atol=1e-12)
        wrong = (met > 0).nonzero().flatten().tolist()
        assert int(found.first[i]) == (wrong[0] if wrong else -1)
        assert bool(found.is_right[i]) is not bool(wrong)


def test_the_worst_over_all_starts_is_that_of_the_starts_alone():
    x, y, index = some()
    options = {"eps": 0.05, "bounds": BOUNDS, "steps": 4, "seed": 3}
    together = pgd(network(), x, y, index, **options)
    alone = [pgd(network(), x, y, index, starts=(start,), **options) for start in attacks.STARTS]
    assert torch.allclose(together.margin, torch.stack([one.margin for one in alone]).amax(0), rtol=1e-9)
    assert torch.equal(together.is_right, torch.stack([one.is_right for one in alone]).all(0))
    assert torch.equal(together.last, alone[0].last) and torch.equal(together.last_is_right, alone[0].last_is_right)
    again = pgd(network(), x, y, index, **{**options, "starts": ("random", "random")})
    assert (again.margin >= alone[0].margin).all() and not torch.equal(again.margin, alone[0].margin)


def test_neither_the_batch_nor_its_order_matters():
    x, y, index = some()
    options = {"eps": 0.1, "bounds": BOUNDS, "steps": 3, "seed": 1}
    whole = pgd(network(), x, y, index, **options)
    order = torch.tensor([4, 0, 5])
    part = pgd(network(), x[order], y[order], index[order], **options)
    assert torch.allclose(part.images, whole.images[order], atol=1e-12)
    for draw in (uniform_in, sign_noise):
        every = draw(x, index, eps=0.1, bounds=BOUNDS, seed=1)
        assert torch.equal(draw(x[order], index[order], eps=0.1, bounds=BOUNDS, seed=1), every[order])
        assert not torch.equal(draw(x, index, eps=0.1, bounds=BOUNDS, seed=2), every)


def test_random_starts_fill_the_ball_and_random_signs_its_corners():
    x, index = torch.full((50, 3, 8, 8), 0.5).double(), torch.arange(50)
    u = (uniform_in(x, index, eps=0.2, bounds=BOUNDS, seed=0) - x).flatten() / 0.2
    assert abs(float(u.mean())) <= 4 * (1 / 3 / len(u)) ** 0.5
    assert abs(float(u.square().mean()) - 1 / 3) <= 4 * (4 / 45 / len(u)) ** 0.5
    signs = (sign_noise(x, index, eps=0.2, bounds=BOUNDS, seed=0) - x).flatten() / 0.2
    assert torch.allclose(signs.abs(), torch.ones_like(signs)) and abs(float(signs.mean())) <= 4 / len(u) ** 0.5


def test_weights_get_no_gradients_and_gradients_that_were_there_stay():
    model = gauge.seeded(gauge.ResidualNet).double()
    model(gauge.images(2).double()).sum().backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    x, y, index = some()
    pgd(model, x, y, index, eps=0.1, bounds=BOUNDS, steps=2)
    assert all(torch.equal(p.grad, before[name]) for name, p in model.named_parameters())


def test_margins_are_what_the_best_other_class_has_ahead():
    f = torch.tensor([[1.0, 4, 2], [3, 3, 0], [0, 0, 5]])
    assert margins(f, torch.tensor([1, 0, 0])).tolist() == [-2, 0, 5]


def test_outputs_that_are_not_finite_on_the_way_are_noted():
    def breaks(x):
        f = x.flatten(1)[:, :3] * torch.tensor([1.0, 5, 9]).double()
        return torch.where(x[:, :1, 0, 0] > 0.58, torch.nan, f)

    x, y = torch.full((2, 3, 8, 8), 0.5).double(), torch.tensor([1, 0])
    x[0, 0, 0, 0] = 0.2
    found = pgd(breaks, x, y, torch.arange(2), eps=0.1, bounds=BOUNDS, steps=2, starts=("fgsm",))
    assert found.is_finite.tolist() == [True, True]  # class 0 of the second image goes down
    y = torch.tensor([1, 1])
    found = pgd(breaks, x, y, torch.arange(2), eps=0.1, bounds=BOUNDS, steps=2, starts=("fgsm",))
    assert found.is_finite.tolist() == [True, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": -0.1}, "eps must be finite, 0 or more; got -0.1"),
        ({"eps": float("nan")}, "got nan"),
        ({"loss": "hinge"}, r"no loss 'hinge'\. .*Valid: cross-entropy, margin"),
        ({"starts": ("cold",)}, r"no start 'cold'\. .*Valid: clean, fgsm, random"),
    ],
)
def test_what_is_no_attack_is_refused(options, words):
    x, y, index = some(2)
    with pytest.raises(ArgumentError, match=words):
        pgd(network(), x, y, index, **{"eps": 0.1, "bounds": BOUNDS, "steps": 1, **options})


def test_a_loss_without_a_gradient_is_refused():
    x, y, _ = some(2)
    with pytest.raises(SpecimenError, match="no gradient with respect to the image"):
        slope(lambda x: x.detach().flatten(1)[:, :10], x, y)


def test_where_memory_is_short_a_gradient_is_computed_in_halves(monkeypatch):
    x, y, _ = some(5)
    f = network()

    def small(x):
        if len(x) > 2:
            raise torch.cuda.OutOfMemoryError("no room")
        return f(x)

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    for found, expected in zip(slope(small, x, y), slope(f, x, y), strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-15)
    assert torch.allclose(attacks.outputs(small, x), f(x), rtol=1e-9)

    def none(x):
        raise torch.cuda.OutOfMemoryError("no room")

    with pytest.raises(SpecimenError, match="out of memory for a single image"):
        slope(none, x, y)


def test_a_box_is_the_ball_cut_off_at_the_bounds():
    box = Box.around(torch.tensor([[0.05, 0.5, 0.98]]), 0.1, BOUNDS)
    assert torch.allclose(box.low, torch.tensor([[0.0, 0.4, 0.88]])) and float(box.high[0, 2]) == 1
    assert torch.allclose(box.nearest(torch.tensor([[-1.0, 0.45, 2.0]])), torch.tensor([[0.0, 0.45, 1.0]]))
