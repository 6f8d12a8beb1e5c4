"""Random deformations for training: the Beta laws, keys and generators, workers, and what is refused."""

import math
import pickle

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from flexure.errors import ArgumentError
from flexure.formulas import maximum_entropy as law
from flexure.perturb.augment import RandomDiffeomorphism
from flexure.perturb.diffeomorphism import coefficients
from flexure.perturb.interpolation import pull_back


def image(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("s", "r"), [(2.0, 1.0), (4.0, 0.25), (10.0, 3.0)])
def test_temperatures_follow_their_beta_law(s, r):
    augment = RandomDiffeomorphism(cutoffs=(3, 3), temperature_law=(s, r))
    cutoffs, heat = augment.parameters(torch.arange(4000), 32, 32, seed=0)
    assert cutoffs.eq(3).all()
    coldest, hottest = law.temperature_range(3, 32)
    b = (heat - coldest) / (hottest - coldest)
    assert 0 <= b.min() < b.max() <= 1
    mean, variance = r / (r + 1), r / (r + 1) ** 2 / (s + 1)
    assert abs(b.mean() - mean) <= 4 * math.sqrt(variance / 4000)
    squares = (b - mean).square()
    assert abs(squares.mean() - variance) <= 4 * squares.std() / math.sqrt(4000)


def test_uniform_cutoffs_are_equally_frequent_and_bring_their_own_range():
    cutoffs, heat = RandomDiffeomorphism(cutoffs=(2, 5)).parameters(torch.arange(4000), 32, 32, seed=1)
    counts = cutoffs.bincount()
    assert counts.nonzero().flatten().tolist() == [2, 3, 4, 5]
    assert (counts[2:] / 4000 - 0.25).abs().max() <= 4 * math.sqrt(0.25 * 0.75 / 4000)
    for cutoff in range(2, 6):
        coldest, hottest = law.temperature_range(cutoff, 32)
        own = heat[cutoffs == cutoff]
        assert coldest <= own.min() < own.max() <= hottest


def test_beyond_the_range_the_coldest_temperature_is_used():
    _, heat = RandomDiffeomorphism(cutoffs=(25, 25)).parameters(torch.arange(5), 32, 32, seed=0)
    assert heat.tolist() == pytest.approx([law.temperature_range(25, 32)[0]] * 5)


@pytest.mark.parametrize("size", [(32, 32), (20, 30)])
def test_each_image_has_the_field_of_its_cutoff_and_temperature(size):
    augment, index = RandomDiffeomorphism(cutoffs=(2, 6)), torch.arange(12)
    cutoffs, heat = augment.parameters(index, *size, seed=3, draw=1)
    fields = augment.fields(index, *size, seed=3, draw=1, dtype=torch.float64)
    for row in range(12):
        own = coefficients(
            index[[row]],
            size,
            temperature=float(heat[row]),
            cutoff=int(cutoffs[row]),
            seed=3,
            draw=1,
            purpose="augmentation field",
            dtype=torch.float64,
        )
        padded = torch.zeros(1, 2, *size, dtype=torch.float64)
        rows, columns = own.shape[-2:]
        padded += law.sines(rows, size[0]).T @ (own @ law.sines(columns, size[1]))
        assert torch.allclose(fields[row], padded[0], rtol=0, atol=1e-13)


def test_with_an_index_all_follows_from_seed_index_and_draw():
    augment, x = RandomDiffeomorphism(cutoffs=(2, 8)), image(4, 3, 32, 32)
    index = torch.tensor([7, 0, 3, 7])
    state = torch.get_rng_state()
    found = augment(x, index, seed=1, draw=2)
    assert torch.equal(torch.get_rng_state(), state)
    for row in range(4):
        assert torch.allclose(augment(x[row], int(index[row]), seed=1, draw=2), found[row], atol=1e-5)
    fields = augment.fields(index, 32, 32, seed=1, draw=2)
    assert torch.equal(found, pull_back(x, fields))
    assert not torch.allclose(augment(x, index, seed=1, draw=3), found, atol=1e-3)


def test_without_an_index_torchs_generators_decide():
    augment, x = RandomDiffeomorphism(), image(3, 32, 32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first, second = augment(x), augment(x)
        torch.manual_seed(5)
        assert torch.equal(augment(x), first)
    assert not torch.equal(first, second)
    own = [augment(x, generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(own[0], own[1])
    assert torch.equal(own[0], first)


class Deformed(Dataset):
    """The same picture ten times, deformed afresh at every access."""

    def __init__(self):
        self.augment = RandomDiffeomorphism()

    def __len__(self):
        return 10

    def __getitem__(self, position):
        return self.augment(image(1, 32, 32))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_and_epochs_never_repeat_each_other(workers):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loader = DataLoader(Deformed(), batch_size=1, num_workers=workers)
        seen = torch.cat([batch for _ in range(2) for batch in loader])
    assert len({picture.numpy().tobytes() for picture in seen}) == 20


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 1, 28, 28), (1, 24, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_dtype_stay(shape, dtype):
    augment = pickle.loads(pickle.dumps(RandomDiffeomorphism(interpolation="gaussian")))
    x = image(*shape).to(dtype)
    found = augment(x, generator=torch.Generator().manual_seed(0))
    assert found.shape == x.shape
    assert found.dtype == dtype
    assert not torch.equal(found, x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"cutoffs": (1, 15)}, "cutoff must be 2 or more; got 1"),
        ({"cutoffs": (5, 3)}, r"cutoffs must rise; got \(5, 3\)"),
        ({"temperature_law": (0.0, 1.0)}, r"temperature_law must be a concentration s > 0 .* got \(0.0, 1.0\)"),
        ({"cutoff_law": (2.0, -1.0)}, "cutoff_law must be a concentration"),
        ({"interpolation": "cubic"}, "no interpolation 'cubic'"),
    ],
)
def test_bad_options_are_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words):
        RandomDiffeomorphism(**options)


@pytest.mark.parametrize(
    ("x", "index", "words"),
    [
        (torch.zeros(3, 32, 32, dtype=torch.uint8), None, "floating point to be deformed; got torch.uint8"),
        (torch.zeros(32, 32), None, r"\(C, H, W\) or a batch .* got shape \(32, 32\)"),
        ("picture.png", None, "a tensor; got str"),
        (torch.zeros(2, 1, 32, 32), torch.arange(3), "2 images need as many indices; got 3"),
        (torch.zeros(1, 8, 8), None, "need 17x17 pixels; the image has 8x8"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(x, index, words):
    with pytest.raises(ArgumentError, match=words):
        RandomDiffeomorphism()(x, index)
