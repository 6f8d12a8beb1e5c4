"""Points on entangled curves and surfaces: on their equations, with ways along them that plain walks measure too."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.data import Images, Manifold, check_name, content_hash, distances_of, hold_out, is_made, labels_of, load
from flexure.data.manifold_shapes import SHAPES
from flexure.errors import ArgumentError
from flexure.models import resolve


def of_class(images: Manifold, label: int) -> np.ndarray:
    return np.flatnonzero(images.labels == label)


def equation(name: str, x: np.ndarray, label: int) -> np.ndarray:
    """What is 0 on the curve or surface of a class."""
    sign = 2 * label - 1
    if name == "torus-curves":
        theta = np.arctan2(x[:, 1], x[:, 0])
        return np.abs(np.hypot(x[:, 0], x[:, 1]) - 8 - sign * np.sin(4 * theta)) + np.abs(
            x[:, 2] - sign * np.cos(4 * theta)
        )
    if name == "folded-boxes":
        return np.abs(x[:, 1]) + 1.2 * np.abs(x[:, 0]) - (12 + sign)
    if name == "double-helix":
        return np.hypot(x[:, 0] - sign * np.cos(1.5 * x[:, 2]), x[:, 1] - sign * np.sin(1.5 * x[:, 2]))
    if name == "two-cosines":
        return x[:, 1] - np.cos(x[:, 0]) - 0.2 * sign
    radius = {"two-spheres": (20, 10), "two-cycles": (50, 10)}[name][label]
    return np.linalg.norm(x, axis=1) - radius


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("draw", ["seeded", "authors"])
def test_every_point_lies_on_the_curve_or_surface_of_its_class(name, draw):
    images = Manifold(name, draw=draw)
    assert len(images) == 100 and images.labels.sum() == 50
    for label in (0, 1):
        assert np.abs(equation(name, images.points[of_class(images, label)], label)).max() < 1e-12
    low, high = images.bounds
    assert low <= images.points.min() and 0.85 * high < np.abs(images.points).max() <= high


def walked(name: str, label: int, u: np.ndarray, is_upper: np.ndarray) -> float:
    """The shortest way from one point to another as the sum of many small steps, around either way where that is."""
    shape = SHAPES[name]

    def steps(values: np.ndarray, upper: np.ndarray) -> float:
        points = shape.points(values, upper, label)
        return float(np.linalg.norm(np.diff(points[:, :2] if name == "folded-boxes" else points, axis=0), axis=1).sum())

    def line(a: float, b: float) -> np.ndarray:
        places = np.linspace(a, b, 20_001)
        places[np.abs(places - 0.5).argmin()] = np.clip(0.5, *sorted((a, b)))  # no step cuts the corner of a fold
        return np.stack([places, np.full(20_001, 0.5)], 1)[:, : shape.parameters]

    (a, b), (first, second) = u[:, 0], is_upper
    all_of = {half: np.full(20_001, half) for half in (True, False)}
    if name == "folded-boxes" and first != second:
        way = min(steps(line(a, end), all_of[first]) + steps(line(end, b), all_of[second]) for end in (0.0, 1.0))
    else:
        way = steps(line(a, b), all_of[True])
        if name in ("torus-curves", "two-cycles"):
            low, high = sorted((a, b))
            way = min(way, steps(line(0.0, low), all_of[True]) + steps(line(high, 1.0), all_of[True]))
    return float(np.hypot(way, 2 * (u[0, 1] - u[1, 1]))) if name == "folded-boxes" else way


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "two-spheres"])
@pytest.mark.parametrize("label", [0, 1])
def test_distances_are_the_lengths_of_walks(name, label):
    generator = np.random.default_rng(0)
    u, is_upper = generator.random((6, SHAPES[name].parameters)), np.array([True, False, True, True, False, False])
    u[0, 0], u[1, 0] = 0.02, 0.97
    found = SHAPES[name].distances(u, is_upper, label, authors=False)
    for i, j in [(0, 1), (2, 3), (1, 4), (4, 5), (0, 5), (3, 3)]:
        walk = walked(name, label, u[[i, j]], is_upper[[i, j]])
        assert found[i, j] == pytest.approx(walk, rel=1e-6, abs=1e-12)


def test_on_spheres_they_are_arcs_of_great_circles():
    images = Manifold("two-spheres")
    for label, radius in ((0, 20), (1, 10)):
        here = of_class(images, label)
        x = images.points[here] / radius
        expected = radius * np.arccos(np.clip(x @ x.T, -1, 1))
        assert np.abs(images.distances[np.ix_(here, here)] - expected).max() < 1e-5


@pytest.mark.parametrize("name", SHAPES)
def test_no_way_is_shorter_than_the_straight_line_and_none_leads_to_the_other_class(name):
    images = Manifold(name, size=200, seed=2)
    d, same = images.distances, images.labels[:, None] == images.labels
    straight = np.linalg.norm(images.points[:, None] - images.points, axis=2)
    assert np.array_equal(np.isfinite(d), same) and np.array_equal(d, d.T)
    assert (np.diag(d) == 0).all() and (d >= straight - 1e-9)[same].all()
    near = same & (straight < 0.02 * straight.max()) & (straight > 0)
    assert near.any() and (d / np.where(near, straight, 1))[near].max() < (1.57 if name == "folded-boxes" else 1.05)
    three = d[np.ix_(of_class(images, 1), of_class(images, 1))]
    assert (three[:, None] <= three[:, :, None] + three[None] + 1e-9).all()


def correlations(name: str, **options: str) -> tuple[float, float]:
    """Of an affine network's changes with distance, as they are and with their sign."""
    images = Manifold(name, draw="authors", **options)
    here = of_class(images, 1)
    x = images.points[here]
    change = (x @ x.T + 1) / ((x**2).sum(1)[:, None] + 1)
    d = images.distances[np.ix_(here, here)].ravel()
    return np.corrcoef(np.abs(change).ravel(), d)[0, 1], np.corrcoef(change.ravel(), d)[0, 1]


@pytest.mark.parametrize(
    ("name", "unsigned", "signed"), [("torus-curves", -0.072, -0.985), ("folded-boxes", -0.136, -0.971)]
)
def test_an_affine_network_on_the_authors_points_has_the_known_correlations(name, unsigned, signed):
    found = correlations(name, distance="authors")
    assert found == (pytest.approx(unsigned, abs=5e-4), pytest.approx(signed, abs=5e-4))
    mended = correlations(name)
    assert mended != found and mended == pytest.approx(found, abs=2e-3)


def test_the_authors_take_angles_heights_and_roofs_that_are_too_wide():
    for name, factor in (("double-helix", np.hypot(1, 1.5)), ("two-spheres", 10), ("two-cycles", 10)):
        ours, theirs = (Manifold(name, distance=which) for which in ("geodesic", "authors"))
        here = np.ix_(of_class(ours, 1), of_class(ours, 1))
        assert ours.distances[here] == pytest.approx(factor * theirs.distances[here])
    ours, theirs = (Manifold("folded-boxes", distance=which) for which in ("geodesic", "authors"))
    here = of_class(ours, 1)
    upper = ours.points[here][:, 1] > 0
    z = ours.points[here][:, 2]
    lengths = [
        np.sqrt(np.maximum(one.distances[np.ix_(here, here)] ** 2 - (z[:, None] - z) ** 2, 0)) for one in (ours, theirs)
    ]
    longer = lengths[1] - lengths[0]
    same = upper[:, None] == upper
    assert upper.sum() == 25 and np.abs(longer[same]).max() < 1e-6
    assert longer[~same] == pytest.approx((11 - 13 / 1.2) * 2 * np.hypot(1, 1.2), abs=1e-6)


def test_the_torus_is_as_long_as_its_speed_says():
    d = Manifold("torus-curves").distances
    whole = 2 * d[np.isfinite(d)].max()
    theta = (np.arange(100_000) + 0.5) * 2 * np.pi / 100_000
    length = np.hypot(4, 8 + np.sin(4 * theta)).mean() * 2 * np.pi
    assert whole <= length and whole > 0.97 * length


def test_the_authors_points_are_those_of_pythons_generator_in_their_order():
    own = random.Random(666)
    first = [own.uniform(-np.pi, np.pi) for _ in range(8)]
    points = Manifold("two-cycles", draw="authors").points
    radii = np.array([10, 50, 10, 50, 10, 50, 10, 50])
    order = [0, 2, 1, 3, 4, 6, 5, 7]
    assert points[:8] == pytest.approx(radii[:, None] * np.stack([np.cos(first), np.sin(first)], 1)[order])
    own = random.Random(666)
    theta, other, phi = (own.uniform(0, np.pi * factor) for factor in (1, 1, 2))
    sphere = Manifold("two-spheres", draw="authors", size=8).points
    assert sphere[0] == pytest.approx(
        10 * np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    )
    assert sphere[1, 2] == pytest.approx(20 * np.cos(other))
    upper = Manifold("folded-boxes", draw="authors").points[:, 1] > 0
    assert upper.tolist() == [True] * 50 + [False] * 50
    state = random.getstate()
    assert Manifold("two-cycles", draw="authors", seed=3, split="train").points.tolist() == points.tolist()
    assert random.getstate() == state


def test_points_depend_on_name_split_seed_and_index_alone():
    whole, part = Manifold("torus-curves", size=40), Manifold("torus-curves", size=10)
    assert np.array_equal(whole.points[:10], part.points)
    others = [Manifold("torus-curves", split="train"), Manifold("torus-curves", seed=1), Manifold("two-cosines")]
    assert len({content_hash(images) for images in (whole, part, *others)}) == 5
    theta = np.arctan2(*Manifold("two-cycles", size=4000).points.T[::-1])
    assert np.abs(np.exp(1j * theta).mean()) < 4 / 4000**0.5


@pytest.mark.parametrize("name", SHAPES)
def test_a_network_sees_images_of_one_row(name):
    images = flexure.load(name, limit=12, seed=5, split="train")
    assert isinstance(images, Images) and isinstance(images, Manifold) and is_made(name)
    batch = images.read([3, 0, 11])
    d = 2 if name in ("two-cosines", "two-cycles") else 3
    assert batch.x.shape == (3, 1, 1, d) and batch.x.dtype == torch.float32
    assert np.array_equal(batch.x.flatten(1).numpy(), images.points[[3, 0, 11]].astype(np.float32))
    assert batch.y.tolist() == labels_of(images)[[3, 0, 11]].tolist() == [0, 1, 0]
    assert batch.index.tolist() == [3, 0, 11] and images.name == name
    assert nn.Sequential(nn.Flatten(), nn.Linear(d, 1))(batch.x).shape == (3, 1)
    assert len(load(name)) == 100


def test_a_part_of_the_points_keeps_its_distances():
    images = Manifold("two-cycles", size=20)
    kept, _ = hold_out(images, 0.3)
    assert np.array_equal(distances_of(kept), images.distances[np.ix_(kept.indices, kept.indices)])
    assert distances_of(load("digits", limit=5)) is None


def test_options_stand_behind_the_name_and_are_said_beside_the_numbers():
    images = load("torus-curves:distance=authors, draw=authors")
    assert (images.distance, images.draw) == ("authors", "authors")
    assert len(images.notes) == 2 and not load("torus-curves").notes
    assert load("folded-boxes", image_size=(1, 3)).bounds == (-13.0, 13.0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torus-curve", r"no data set 'torus-curve'\. Did you mean 'torus-curves'"),
        ("torus-curves:distanec=authors", r"no option 'distanec'\. Did you mean 'distance'"),
        ("torus-curves:distance=arc", r"distance must be geodesic or authors; got 'arc'"),
        ("torus-curves:draw", r"expected draw=VALUE; got 'draw'"),
    ],
)
def test_wrong_names_and_options_are_named(name, words):
    with pytest.raises(ArgumentError, match=words):
        check_name(name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": "torus"}, r"no shape 'torus'\. "),
        ({"split": "tset"}, r"no split 'tset'\. Did you mean 'test'"),
        ({"size": 0}, "size must be a whole number of points, at least 1; got 0"),
        ({"size": 10, "draw": "authors"}, "the authors draw points in fours; got size 10"),
    ],
)
def test_what_makes_no_set_is_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words):
        Manifold(**{"shape": "two-cycles"} | options)


def test_points_of_another_size_are_refused():
    with pytest.raises(ArgumentError, match="points of 3 coordinates have no other image_size"):
        load("torus-curves", image_size=28)


def test_a_fully_connected_network_of_ours_takes_them():
    specimen = resolve("densenetl2", channels=1, image_size=(1, 3), num_classes=1, width=0.1)
    assert specimen.model(load("torus-curves", limit=4).read(range(4)).x).shape == (4, 1)
