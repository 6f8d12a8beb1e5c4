"""Keyed random numbers: the published answers, independence of everything but the key, and the right law."""

import math
import random

import numpy as np
import pytest
import torch

from flexure import rng

KNOWN = [  # counter, key, answer of Philox 4x32-10 as published with Random123
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "words", "answer"), KNOWN)
def test_the_published_answers_of_the_generator(counter, words, answer):
    found = rng.philox(torch.tensor(counter, dtype=torch.int64).view(4, 1), words)
    assert tuple(found.flatten().tolist()) == answer


def test_numbers_depend_on_image_and_draw_and_not_on_the_batch():
    index = torch.tensor([5, 2**40, 0, 17])
    together = rng.integers(70_000, seed=3, purpose="noise", index=index, draw=2)
    for row, single in enumerate(index):
        alone = rng.integers(70_000, seed=3, purpose="noise", index=single[None], draw=2)
        assert torch.equal(together[row], alone[0])
    assert torch.equal(rng.integers(5, seed=3, purpose="noise", index=index, draw=2), together[:, :5])


@pytest.mark.parametrize("change", [{"seed": 1}, {"purpose": "other"}, {"draw": 1}, {"index": torch.tensor([8])}])
def test_every_part_of_the_key_matters(change):
    base = {"seed": 0, "purpose": "noise", "draw": 0, "index": torch.tensor([7])}
    assert not torch.equal(rng.integers(4, **base), rng.integers(4, **{**base, **change}))


def test_draws_may_differ_from_image_to_image():
    index = torch.tensor([4, 4])
    both = rng.normal(9, seed=0, purpose="noise", index=index, draw=torch.tensor([0, 1]))
    assert torch.equal(both[1:], rng.normal(9, seed=0, purpose="noise", index=index[1:], draw=1))


def test_normals_have_the_moments_of_the_law():
    x = rng.normal(2_000, seed=0, purpose="moments", index=torch.arange(500), dtype=torch.float64)
    n = x.numel()
    for power, truth, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs(x.pow(power).mean() - truth) <= 4 * math.sqrt(variance / n)
    lagged = (x[:, 1:] * x[:, :-1]).mean()
    assert abs(lagged) <= 4 / math.sqrt(n)


def test_normals_in_both_precisions_are_equal_to_rounding():
    wide = rng.normal(1001, seed=1, purpose="noise", index=torch.arange(3), dtype=torch.float64)
    narrow = rng.normal(1001, seed=1, purpose="noise", index=torch.arange(3), dtype=torch.float32)
    assert torch.equal(wide.float(), narrow)


def test_uniforms_lie_strictly_inside_the_unit_interval():
    u = rng.uniform(100_000, seed=0, purpose="u", index=torch.arange(2))
    assert 0 < u.min() < u.max() < 1
    assert abs(u.mean() - 0.5) <= 4 * math.sqrt(1 / 12 / u.numel())


def _from_each_generator() -> tuple[float, float, float]:
    return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002


def test_global_generators_are_seeded_inside_and_go_on_undisturbed_outside():
    with rng.seeded(7):
        first = _from_each_generator()
    with rng.seeded(11):
        before = _from_each_generator()
        with rng.seeded(7):
            again = _from_each_generator()
        after = _from_each_generator()
    with rng.seeded(11):
        plain = _from_each_generator(), _from_each_generator()
    assert first == again
    assert (before, after) == plain


def test_global_generators_come_back_also_after_an_exception():
    with rng.seeded(3):
        expected = _from_each_generator()
    with rng.seeded(3):
        with pytest.raises(ZeroDivisionError), rng.seeded(1):
            raise ZeroDivisionError
        assert _from_each_generator() == expected
