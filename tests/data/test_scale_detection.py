"""Scale detection: the published sizes of its pools, every pair against a plain loop, and splits that never overlap."""

from collections import Counter

import numpy as np
import pytest
import torch
from reference.scale_pairs import classes

import flexure
from flexure.data import Images, ScaleDetection, check_name, content_hash, hold_out, load, translation_of
from flexure.data.scale_detection import SCALE_DETECTION
from flexure.data.scale_pairs import Rules
from flexure.errors import ArgumentError
from flexure.perturb.translation import LocalTranslation

PAPER = {"dimensions": 2, "task": "distance", "side": 28, "scale": 14, "gap": 2, "norm": "euclidean"}
PAPER |= {"periodic": False, "diagonal": True}
RING = PAPER | {"dimensions": 1, "side": 128, "scale": 32, "gap": 0, "periodic": True}


def pool(**changes):
    return Rules(**(PAPER | changes)).pairs()


@pytest.mark.parametrize(
    ("rules", "far", "near"),
    [
        (PAPER | {"diagonal": False}, 135_397, 120_767),
        (PAPER | {"diagonal": False, "task": "blocks"}, 214_228, 71_162),
        (PAPER, 145_202, 130_206),
        (PAPER | {"task": "blocks"}, 230_496, 76_440),
        (RING, 4_160, 3_968),
        (RING | {"task": "blocks"}, 6_144, 1_984),
    ],
)
def test_the_pools_have_their_published_sizes(rules, far, near):
    assert np.bincount(Rules(**rules).pairs()[3]).tolist() == [far, near]


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"diagonal": False},
        {"task": "blocks"},
        {"periodic": True, "gap": 1},
        {"norm": "chebyshev"},
        {"norm": "manhattan", "gap": 3, "periodic": True},
        {"dimensions": 1, "periodic": True},
        {"dimensions": 1, "gap": 1},
        {"dimensions": 1, "task": "blocks"},
    ],
)
def test_every_pair_has_the_number_and_the_class_that_a_plain_loop_gives_it(rules):
    rules = PAPER | {"side": 9, "scale": 4, "gap": 2} | rules
    found = zip(*(column.tolist() for column in Rules(**rules).pairs()), strict=True)
    assert {number: (p, q, label) for number, p, q, label in found} == classes(**rules)


def test_the_diagonal_in_numbers_by_a_plain_loop():
    for task in ("distance", "blocks"):
        counts = Counter(label for *_, label in classes(**(PAPER | {"task": task})).values())
        assert [counts[0], counts[1]] == np.bincount(pool(task=task)[3]).tolist()


def test_the_gap_is_halved_in_two_dimensions_and_not_in_one():
    flat = classes(**(PAPER | {"side": 20, "scale": 10, "gap": 4}))
    two = ScaleDetection(side=20, scale=10, gap=4, test_size=200)
    assert {flat[number][2] for number in two.indices} == {0, 1}
    distances = np.hypot(*(np.diff(np.divmod(two.positions, 20), axis=2)[..., 0]))
    assert distances[two.labels == 1].max() < 8 and distances[two.labels == 0].min() >= 12
    ring = ScaleDetection(dimensions=1, gap=4)
    steps = np.diff(ring.positions)[:, 0]
    steps = np.minimum(steps, 128 - steps)
    assert steps[ring.labels == 1].max() == 27 and steps[ring.labels == 0].min() == 36


@pytest.mark.parametrize("name", SCALE_DETECTION)
def test_images_hold_two_lit_pixels_where_the_pair_lies(name):
    images = flexure.load(name, limit=30)
    batch = images.read([4, 0, 29])
    assert isinstance(images, Images) and batch.x.dtype == torch.float32
    assert batch.x.shape == ((3, 1, 28, 28) if "2d" in name else (3, 1, 1, 128))
    assert batch.index.tolist() == images.indices[[4, 0, 29]].tolist()
    assert batch.y.tolist() == images.labels[[4, 0, 29]].tolist()
    lit = batch.x.flatten(1).nonzero()
    assert lit[:, 1].view(3, 2).tolist() == images.positions[[4, 0, 29]].tolist()
    assert batch.x.max() == images.value == images.bounds[1] and images.name == name
    assert (batch.x.flatten(1).sum(1) == 2 * images.value).all()


def test_values_are_those_of_the_paper():
    assert ScaleDetection().value == 392 and ScaleDetection(dimensions=1).value == 8
    assert ScaleDetection().read([0]).x.norm().item() == pytest.approx(554, abs=0.5)
    assert ScaleDetection(value=1.5).read([0]).x.max() == 1.5


@pytest.mark.parametrize("options", [{}, {"task": "blocks"}, {"dimensions": 1}, {"dimensions": 1, "task": "blocks"}])
def test_splits_share_no_pair_and_hold_as_many_of_either_class(options):
    parts = [ScaleDetection(split=split, **options) for split in ("train", "test", "validation")]
    numbers = [set(part.indices.tolist()) for part in parts]
    assert not numbers[0] & numbers[1] and not numbers[0] & numbers[2] and not numbers[1] & numbers[2]
    assert all(np.diff(np.bincount(part.labels)) == 0 for part in parts)
    assert [len(part) for part in parts[::2]] == [1024, 128]
    assert all((np.diff(part.indices) > 0).all() for part in parts)


def test_test_images_are_the_same_whatever_is_drawn_for_training():
    first, second = ({*ScaleDetection(split="train", seed=seed).indices.tolist()} for seed in (0, 1))
    test = set(ScaleDetection(seed=5).indices.tolist())
    assert first != second and not (first | second) & test
    assert len(test) == 4096


def test_the_ring_is_used_up_by_its_three_splits():
    sizes = {split: len(ScaleDetection(dimensions=1, split=split)) for split in ("train", "validation", "test")}
    assert sizes == {"train": 1024, "validation": 128, "test": 2 * 3968 - 1152}


def test_a_smaller_sample_is_part_of_a_larger_one_and_the_seed_matters():
    small, large, other = (ScaleDetection(split="train", size=n, seed=s) for n, s in ((100, 3), (2000, 3), (100, 4)))
    assert set(small.indices) < set(large.indices) and len(large) == 2000
    assert np.bincount(small.labels).tolist() == [50, 50]
    assert len({content_hash(images) for images in (small, large, other)}) == 3
    assert content_hash(small) == content_hash(ScaleDetection(split="train", size=100, seed=3))


def test_the_split_and_seed_of_load_are_honored():
    train = flexure.load("scale-detection-2d", split="train", limit=10, seed=7)
    assert train.indices.tolist() == ScaleDetection(split="train", size=10, seed=7).indices.tolist()
    assert len(flexure.load("scale-detection-1d", split="train")) == 1024


def test_held_out_images_keep_their_numbers():
    kept, held = hold_out(ScaleDetection(split="train", size=100), 0.2)
    assert np.bincount(held.labels).tolist() == [10, 10] and not set(kept.indices) & set(held.indices)


@pytest.mark.parametrize("index", [0, 11])
def test_an_index_says_which_pixels_are_lit_whatever_the_task(index):
    for images in (ScaleDetection(size=50), ScaleDetection(size=50, task="blocks", diagonal=False)):
        p, q = images.positions[index]
        assert images.indices[index] == p * 784 - p * (p + 1) // 2 + q - p - 1


def test_each_task_has_its_translation():
    assert ScaleDetection().translation == ScaleDetection(task="blocks").translation == LocalTranslation()
    assert ScaleDetection(dimensions=1).translation == LocalTranslation(periodic=True)
    assert ScaleDetection(dimensions=1, task="blocks").translation == LocalTranslation(periodic=True, block=32)


def test_the_authors_omission_is_said_beside_the_numbers():
    images = ScaleDetection(diagonal=False, size=500)
    assert images.notes == ("Pixels (i, i) are never lit, as in the authors' data.",)
    rows, columns = np.divmod(images.positions, 28)
    assert (rows != columns).all() and not ScaleDetection().notes
    assert (np.equal(*np.divmod(ScaleDetection(size=500).positions, 28))).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dimensions": 3}, "dimensions must be 1 or 2; got 3"),
        ({"task": "distances"}, "no task 'distances'. Did you mean 'distance'"),
        ({"norm": "euclid"}, "no norm 'euclid'. Did you mean 'euclidean'"),
        ({"split": "tset"}, "no split 'tset'. Did you mean 'test'"),
        ({"side": 1}, "side must be a whole number of pixels, 2 or more; got 1"),
        ({"scale": 2.5}, "scale must be a whole number"),
        ({"gap": -1}, "gap must be finite, 0 or more; got -1"),
        ({"value": 0}, r"value of a lit pixel must be finite and > 0; got 0\.0"),
        ({"size": 0}, "size must be a whole number, at least 1; got 0"),
        ({"test_size": 7}, "test_size must be even"),
        ({"dimensions": 1, "diagonal": False}, "a ring has no diagonal"),
        ({"side": 200}, "has 799,980,000 pairs of pixels; at most 20,000,000"),
    ],
)
def test_what_makes_no_task_is_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words):
        ScaleDetection(**options)


def test_a_split_without_images_says_how_many_there_are():
    with pytest.raises(ArgumentError, match=r"split 'test' is empty: the smaller class has 48 pairs.*Raise side"):
        len(ScaleDetection(dimensions=1, side=16, scale=4))
    with pytest.raises(ArgumentError, match="split 'validation' is empty"):
        len(ScaleDetection(split="validation", validation_size=0))


@pytest.mark.parametrize("name", ["scale-detection-1d:side=32,scale=8", "scale-detection-2d:side=10,scale=5"])
def test_the_advice_for_a_split_without_images_can_be_followed(name):
    with pytest.raises(ArgumentError, match=r"takes\.$") as caught:
        len(flexure.load(name))
    words = str(caught.value)
    assert len(flexure.load(words.split("'")[3])) > 0
    options = {"dimensions": int(name[16]), "side": int(name.split("side=")[1].split(",")[0]), "scale": int(name[-1])}
    assert "flexure.data.ScaleDetection(…)" in words
    assert len(ScaleDetection(**options, test_size=64, validation_size=0)) == 64


def test_images_of_another_size_are_refused_with_the_way_to_make_them():
    with pytest.raises(ArgumentError, match=r"image_size cannot be set.*scale-detection-2d:side=56,scale=28"):
        flexure.load("scale-detection-2d", image_size=32)


def test_options_stand_behind_the_name():
    images = load("scale-detection-1d:side=64, scale=16", split="train")
    assert images.rules == ScaleDetection(dimensions=1, side=64, scale=16).rules
    assert not load("scale-detection-2d:diagonal=false,gap=1.5").rules.diagonal


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("sied=64", r"no option 'sied'\. Did you mean 'side'"),
        ("side", r"expected side=VALUE; got 'side'"),
        ("side=wide", r"side must be a whole number; got 'wide'"),
        ("diagonal=1", r"diagonal must be true or false; got '1'"),
        ("side=true", r"side must be a whole number; got 'true'"),
    ],
)
def test_wrong_options_are_named(options, words):
    with pytest.raises(ArgumentError, match=words):
        check_name(f"scale-detection-2d:{options}")


def test_a_part_of_the_images_has_their_translation():
    kept, _ = hold_out(load("scale-detection-1d"), 0.5)
    assert translation_of(kept) == LocalTranslation(periodic=True)
    assert translation_of(load("digits")) is None
