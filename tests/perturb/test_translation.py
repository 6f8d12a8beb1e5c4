"""Local translations: the law of the hops, what stays, and what they are keyed by."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from flexure.data import ScaleDetection
from flexure.errors import ArgumentError
from flexure.perturb.translation import LocalTranslation


def dots(*places, shape=(1, 9, 9), value=3.0):
    x = torch.zeros(1, *shape)
    for row, column in places:
        x[0, :, row, column] += value
    return x


def hops(translation, x, count, seed=0):
    """Where the lit pixels of copies of one image go ``(count, H, W)``."""
    return translation(x.expand(count, *x.shape[1:]), torch.arange(count), seed=seed)[:, 0]


def frequencies(moved):
    """How often each place is lit: ``{(row, column): times}``."""
    rows, columns = moved.sum(0).nonzero(as_tuple=True)
    return {(int(r), int(c)): int((moved[:, r, c] > 0).sum()) for r, c in zip(rows, columns, strict=True)}


def test_a_pixel_hops_along_an_axis_two_times_in_three_and_never_stays():
    found = frequencies(hops(LocalTranslation(), dots((4, 4)), 12_000))
    expected = {(4 + i, 4 + j): 1000 if i and j else 2000 for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j}
    assert found.keys() == expected.keys()
    assert chisquare([found[place] for place in expected], list(expected.values())).pvalue > 1e-4


def test_the_law_of_the_hops_is_that_of_rounded_unit_vectors():
    angle = 2 * math.pi * (np.arange(120_000) + 0.5) / 120_000
    rounded = np.stack([np.sin(angle).round(), np.cos(angle).round()], 1).astype(int)
    law = LocalTranslation().moves(9, 9)[40].view(9, 9)
    for row in range(-1, 2):
        for column in range(-1, 2):
            share = (rounded == (row, column)).all(1).mean()
            assert law[4 + row, 4 + column].item() == pytest.approx(share, abs=1e-4)


@pytest.mark.parametrize("translation", [LocalTranslation(), LocalTranslation(True), LocalTranslation(block=3)])
@pytest.mark.parametrize("shape", [(1, 6), (6, 6), (3, 9)])
def test_what_happens_is_what_the_law_says(translation, shape):
    law = translation.moves(*shape)
    torch.testing.assert_close(law.sum(1), torch.ones(len(law), dtype=torch.float64))
    for place in range(len(law)):
        x = dots(divmod(place, shape[1]), shape=(1, *shape), value=1.0)
        seen = hops(translation, x, 150, seed=place).flatten(1).mean(0).double()
        se = (law[place] * (1 - law[place]) / 150).sqrt()
        assert ((seen - law[place]).abs() <= 4 * se).all()


def test_on_a_ring_a_pixel_goes_left_or_right_across_the_seam():
    law = LocalTranslation(periodic=True).moves(1, 5)
    assert law[0].tolist() == [0, 0.5, 0, 0, 0.5] and law[2].tolist() == [0, 0.5, 0, 0.5, 0]


def test_at_a_border_the_part_that_leads_out_is_left_out():
    assert LocalTranslation().moves(1, 5)[0].tolist() == [0.5, 0.5, 0, 0, 0]
    corner = LocalTranslation().moves(3, 3)[0] * 12
    assert corner.tolist() == pytest.approx([5, 3, 0, 3, 1, 0, 0, 0, 0])


def test_no_pixel_leaves_its_block():
    data = ScaleDetection(dimensions=1, task="blocks", size=500)
    batch = data.read(range(500))
    moved = data.translation(batch.x, batch.index, seed=0)
    for x, was in zip(moved.flatten(1), data.positions, strict=True):
        blocks = x.nonzero()[:, 0] // 32
        assert set(blocks.tolist()) == set((was // 32).tolist())


def test_each_pixel_hops_for_itself():
    moved = hops(LocalTranslation(periodic=True), dots((0, 2), (0, 7), shape=(1, 1, 12)), 2000)[:, 0]
    left, right = moved[:, 1] > 0, moved[:, 6] > 0
    joint = (left & right).double().mean().item()
    assert abs(joint - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 2000)


def test_where_two_pixels_meet_their_values_add_up():
    moved = hops(LocalTranslation(), dots((0, 2), (0, 4), shape=(1, 1, 7)), 200)[:, 0]
    assert (moved.sum(1) == 6).all()
    assert set(moved.unique().tolist()) == {0.0, 3.0, 6.0}
    assert set(moved[:, 3].unique().tolist()) == {0.0, 3.0, 6.0}


def test_values_and_the_ground_are_kept():
    x = dots((2, 2), (6, 5)) - 1.5
    x[0, 0, 6, 5] = 8.0
    moved = LocalTranslation()(x, torch.tensor([3]), seed=0)
    assert sorted(moved.unique().tolist()) == [-1.5, 1.5, 8.0]
    assert (moved == -1.5).sum() == 79


def test_all_channels_of_a_pixel_go_together():
    x = torch.zeros(1, 2, 9, 9)
    x[0, 0], x[0, 1] = 1.0, 5.0
    x[0, 0, 4, 4], x[0, 1, 4, 4] = 3.0, 6.0
    moved = LocalTranslation()(x, torch.tensor([0]), seed=0)
    assert (moved[0, 0] - 1).nonzero().tolist() == (moved[0, 1] - 5).nonzero().tolist() != [[4, 4]]
    assert moved[0].amax((1, 2)).tolist() == [3.0, 6.0]


def test_a_dark_image_and_no_image_stay_as_they_are():
    assert not LocalTranslation()(torch.zeros(2, 1, 5, 5), torch.arange(2), seed=0).any()
    assert LocalTranslation()(torch.zeros(0, 1, 5, 5), torch.arange(0), seed=0).shape == (0, 1, 5, 5)


def test_hops_depend_on_seed_draw_and_index_and_on_nothing_else():
    batch = ScaleDetection(size=64).read(range(64))
    move = LocalTranslation()
    whole = move(batch.x, batch.index, seed=2, draw=1)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    parts = torch.cat([move(batch.x[at], batch.index[at], seed=2, draw=1) for at in order.split(7)])
    assert torch.equal(whole[order], parts)
    assert not torch.equal(whole, move(batch.x, batch.index, seed=2, draw=0))
    assert not torch.equal(whole, move(batch.x, batch.index, seed=3, draw=1))
    assert torch.equal(whole.double(), move(batch.x.double(), batch.index, seed=2, draw=1))


def test_the_images_given_are_not_written_to():
    batch = ScaleDetection(size=8).read(range(8))
    before = batch.x.clone()
    move = LocalTranslation()
    assert move.clean(batch.x) is batch.x
    move(batch.x, batch.index, seed=0)
    assert torch.equal(batch.x, before)


def test_a_lonely_pixel_moves_an_image_by_twice_its_square():
    moved = hops(LocalTranslation(), dots((4, 4)), 100)
    assert ((moved - dots((4, 4))[:, 0]).square().sum((1, 2)) == 2 * 9).all()


def test_bad_arguments_are_refused_in_words():
    with pytest.raises(ArgumentError, match="block must be at least 1 pixel; got 0"):
        LocalTranslation(block=0)
    with pytest.raises(ArgumentError, match="2 images need as many indices; got 3"):
        LocalTranslation()(torch.zeros(2, 1, 4, 4), torch.arange(3), seed=0)
