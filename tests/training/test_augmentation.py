"""Crops and flips: windows of the padded image, whatever the batch, and as often as chance has it."""

import pytest
import torch
import torch.nn.functional as F
from training.make import images, net

from flexure.errors import ArgumentError
from flexure.perturb.augment import RandomDiffeomorphism
from flexure.training import RandomCrop, RandomFlip, fit

CHANGES = [RandomCrop(2), RandomFlip(), RandomDiffeomorphism(cutoffs=(2, 3))]


def batch(n: int = 64, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(n, 2, size, size + 1, generator=torch.Generator().manual_seed(0)), torch.arange(n)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_what_is_done_to_an_image_depends_on_its_index_seed_and_draw_alone(change):
    x, index = batch()
    whole = change(x, index, seed=3, draw=1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    parts = [change(x[part], index[part], seed=3, draw=1) for part in order.split(5)]
    torch.testing.assert_close(torch.cat(parts), whole[order])
    assert whole.shape == x.shape
    assert not torch.equal(whole, change(x, index, seed=3, draw=2))
    assert not torch.equal(whole, change(x, index, seed=4, draw=1))


def test_a_crop_is_one_of_the_windows_and_all_come_equally_often():
    x, index = batch(2_000, 3)
    found = RandomCrop(1)(x, index, seed=0, draw=0)
    padded = F.pad(x, [1] * 4)
    windows = torch.stack([padded[..., i : i + 3, j : j + 4] for i in range(3) for j in range(3)], 1)
    hits = (windows == found[:, None]).flatten(2).all(2)
    assert hits.any(1).all()
    shares = hits.double().mean(0)
    assert ((shares - 1 / 9).abs() < 4 * (8 / 81 / len(x)) ** 0.5).all()


def test_half_of_the_images_are_mirrored():
    x, index = batch(2_000, 3)
    found = RandomFlip()(x, index, seed=0, draw=0)
    flipped = (found == x.flip(-1)).flatten(1).all(1)
    assert torch.equal(found[~flipped], x[~flipped])
    assert abs(flipped.double().mean().item() - 0.5) < 4 * 0.5 / len(x) ** 0.5


def test_crop_and_flip_are_drawn_independently():
    x, index = batch(2_000, 3)
    moved = (RandomCrop(1)(x, index, seed=0, draw=0) != x).flatten(1).any(1)
    flipped = (RandomFlip()(x, index, seed=0, draw=0) != x).flatten(1).any(1)
    both, apart = (moved & flipped).double().mean(), moved.double().mean() * flipped.double().mean()
    assert abs(both - apart) < 4 * 0.25 / len(x) ** 0.5


def test_training_applies_changes_in_order_with_the_epoch_as_draw_and_corrupts_what_is_normalized():
    seen = []

    def change(name):
        def apply(x, index, *, seed, draw):
            seen.append((name, sorted(index.tolist()), seed, draw, x.max().item() <= 1))
            return x if name == "corrupt" else x + 10

        return apply

    fit(
        net(),
        images(4),
        epochs=2,
        lr=0.1,
        seed=7,
        augment=[change("first"), change("second")],
        corruption=change("corrupt"),
    )
    every = [0, 1, 2, 3]
    assert seen == [
        (name, every, 7, epoch, name == "first") for epoch in (1, 2) for name in ("first", "second", "corrupt")
    ]


def test_test_images_are_left_as_they_are():
    def spoil(x, index, *, seed, draw):
        return x * torch.nan if draw > 9 else x

    history = fit(net(), images(), epochs=1, lr=0.1, augment=spoil, test=images(6))
    assert history.records[0].test_n == 6


def test_padding_has_to_be_at_least_one_pixel():
    with pytest.raises(ArgumentError, match="padding must be at least 1 pixel; got 0"):
        RandomCrop(0)
