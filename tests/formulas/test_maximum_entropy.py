"""The law of maximum-entropy fields: the tables of the papers, inverses, exact displacements, shapes of any kind."""

import itertools
import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from reference import diffeomorphism as reference

from flexure.errors import ArgumentError
from flexure.formulas import maximum_entropy as law

PI_HALF_LN = {2: 1.089, 3: 1.726, 5: 2.528, 10: 3.617, 15: 4.254, 30: 5.343}
TABLE = [(2, 3, 0.9), (3, 6, 1.2250), (5, 19, 1.8779), (10, 77, 2.7962), (15, 172, 3.3652), (30, 703, 4.4055)]


@pytest.mark.parametrize(("cutoff", "count", "total"), TABLE)
def test_number_of_modes_and_their_sum_are_those_of_the_table(cutoff, count, total):
    assert len(law.modes(cutoff)) == count
    assert law.mode_sum(cutoff) == pytest.approx(total, abs=6e-5)
    assert math.pi / 2 * math.log(cutoff) == pytest.approx(PI_HALF_LN[cutoff], abs=6e-4)
    assert sorted(law.modes(cutoff)) == reference.modes(cutoff)


def test_the_disc_reaches_beyond_the_cutoff_and_smaller_discs_come_first():
    assert {(1, 3), (3, 1)} < set(law.modes(3))
    assert (2, 3) not in law.modes(3)
    for low, high in [(2, 3), (3, 15), (10, 30)]:
        assert law.modes(high)[: len(law.modes(low))] == law.modes(low)


RMS = [
    (28, (0.812, 0.831, 0.848, 0.858)),
    (32, (0.816, 0.835, 0.852, 0.862)),
    (224, (0.839, 0.858, 0.875, 0.886)),
]


@pytest.mark.parametrize(("size", "ratios"), RMS)
def test_true_displacement_over_nominal_is_that_of_the_table(size, ratios):
    for cutoff, ratio in zip((3, 5, 10, 15), ratios, strict=True):
        heat = law.temperature(1.0, cutoff, size)
        assert law.rms_displacement(heat, cutoff, size) == pytest.approx(ratio, abs=6e-4)


@pytest.mark.parametrize(("cutoff", "ratio"), [(3, 1.27), (5, 1.15), (10, 1.10), (15, 1.08)])
def test_the_center_moves_more_than_nominal(cutoff, ratio):
    variance = law.variance_field(law.temperature(1.0, cutoff, 64), cutoff, 64)
    center = math.sqrt(2 * float(variance[31:33, 31:33].mean()))
    assert center == pytest.approx(ratio, abs=0.006)


def test_temperatures_of_the_table():
    found = [law.temperature(1.0, cutoff, 32) for cutoff in (3, 5, 10, 15)]
    assert found == pytest.approx([1.132e-3, 7.726e-4, 5.400e-4, 4.591e-4], rel=5e-4)
    for size, limits in [(32, (3.395, 2.037, 1.019, 0.679)), (224, (23.77, 14.26, 7.13, 4.75))]:
        for cutoff, limit in zip((3, 5, 10, 15), limits, strict=True):
            hottest = law.temperature_range(cutoff, size)[1]
            assert law.nominal_displacement(hottest, cutoff, size) == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("cutoff", [2, 20, 21, 40])
def test_the_range_is_empty_beyond_its_cutoff(cutoff):
    coldest, hottest = law.temperature_range(cutoff, 32)
    assert (coldest < hottest) == (cutoff <= 20)


sizes = st.one_of(st.integers(8, 300), st.tuples(st.integers(12, 100), st.integers(12, 100)))


@given(displacement=st.floats(0, 50), cutoff=st.integers(2, 30), size=sizes)
def test_temperature_and_displacement_are_inverse(displacement, cutoff, size):
    heat = law.temperature(displacement, cutoff, size)
    assert law.nominal_displacement(heat, cutoff, size) == pytest.approx(displacement, rel=1e-12)
    assert law.nominal_displacement(law.temperature_range(cutoff, size)[0], cutoff, size) == pytest.approx(0.5)


@settings(deadline=None, max_examples=50)
@given(height=st.integers(16, 60), width=st.integers(16, 60), cutoff=st.integers(2, 6))
def test_exact_displacement_is_the_mean_of_the_variance_field(height, width, cutoff):
    variance = law.variance_field(1e-3, cutoff, (height, width))
    assert variance.shape == (height, width)
    assert math.sqrt(2 * float(variance.mean())) == pytest.approx(
        law.rms_displacement(1e-3, cutoff, (height, width)), rel=1e-12
    )


def test_the_variance_is_the_sum_over_modes():
    found = law.variance_field(2e-3, 3, 9)
    u = torch.arange(9, dtype=torch.float64) / 8
    expected = torch.zeros(9, 9, dtype=torch.float64)
    for i, j in reference.modes(3):
        wave = torch.sin(j * math.pi * u)[:, None] * torch.sin(i * math.pi * u)
        expected += 81 * 2e-3 * wave**2 / (i**2 + j**2)
    assert torch.allclose(found, expected, rtol=1e-13, atol=1e-25)


def test_a_rectangle_is_as_stiff_along_rows_as_along_columns():
    # the stiffness of a wave depends on its length in pixels alone: twice as wide, twice as many half-waves
    aspect = 2.0
    assert law.squared_radius((4, 1), aspect) == pytest.approx(8 + 2)
    for i, j in [(4, 1), (2, 5), (6, 3)]:
        pixels = (i / 64) ** 2 + (j / 32) ** 2
        assert law.squared_radius((i, j), aspect) == pytest.approx(64 * 32 * pixels)
    turned = [(j, i) for i, j in law.modes(5, 2.0)]
    assert set(turned) == set(law.modes(5, 0.5))
    assert law.modes(5, 1.0) == law.modes(5)


def test_a_long_image_has_nearly_the_nominal_limit_too():
    ratio = law.mode_sum(60, 1.5) / (math.pi / 2 * math.log(60))
    assert ratio == pytest.approx(law.mode_sum(60) / (math.pi / 2 * math.log(60)), abs=0.02)


def test_a_whole_float_is_a_cutoff():
    assert law.modes(3.0) == law.modes(3)
    assert law.check_cutoff(torch.tensor(4).item()) == 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: law.temperature(1.0, 1, 32), "cutoff must be 2 or more; got 1. .* 0 at cutoff 1"),
        (lambda: law.temperature_range(1, 32), "cutoff must be 2 or more"),
        (lambda: law.modes(1), "cutoff must be 2 or more"),
        (lambda: law.modes(2.5), "whole number, 2 or more; got 2.5"),
        (lambda: law.modes(True), "whole number, 2 or more; got True"),
        (lambda: law.modes("3"), "whole number, 2 or more; got '3'"),
        (lambda: law.modes(float("nan")), "whole number"),
        (lambda: law.modes(2, 30.0), "keeps no mode on an image 30 times as wide as high. Raise cutoff to 5"),
        (lambda: law.temperature(-1.0, 3, 32), "displacement must be finite and not negative; got -1.0"),
        (lambda: law.nominal_displacement(math.inf, 3, 32), "temperature must be finite and not negative; got inf"),
        (lambda: law.temperature(1.0, 3, (32, 2)), r"3 pixels or more each; got \(32, 2\)"),
        (lambda: law.temperature(1.0, 3, (32, 32, 3)), r"a side or \(height, width\)"),
        (lambda: law.rms_displacement(1e-3, 15, 16), "need 17x17 pixels; the image has 16x16. Lower the cutoff"),
        (lambda: law.variance_field(1e-3, 7, (8, 8)), "need 9x9 pixels"),
        (lambda: law.rms_displacement(1e-3, 15, (16, 17)), "15 half-periods along columns .* has 16x17"),
        (lambda: law.rms_displacement(1e-3, 15, (17, 16)), "and 15 along rows, .* has 17x16"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()


def test_the_hint_for_a_long_image_is_the_smallest_cutoff_that_works():
    assert len(law.modes(5, 30.0)) >= 1
    with pytest.raises(ArgumentError, match="keeps no mode"):
        law.modes(4, 30.0)


def test_waves_end_in_exact_zeros():
    waves = law.sines(5, 13)
    assert waves[:, [0, -1]].eq(0).all()
    slopes = law.wave_numbers(5, 13)[:, None] * law.cosines(5, 13)
    middle = (waves[:, 7] - waves[:, 5]) / 2
    assert torch.allclose(middle, slopes[:, 6] * torch.sinc(law.wave_numbers(5, 13) / math.pi), atol=1e-14)


@pytest.mark.parametrize("cutoff", [2, 3, 5, 15])
@pytest.mark.parametrize("size", [32, (28, 40), 224])
def test_a_grid_of_temperatures_reaches_beyond_the_band_on_both_sides_in_equal_ratios(cutoff, size):
    low, high = law.temperature_range(cutoff, size)
    grid = law.temperature_grid(cutoff, size, 30)
    assert len(grid) == 30 and grid[0] == low / 15 and grid[-1] == 2 * high
    ratios = [after / before for before, after in itertools.pairwise(grid)]
    assert ratios == pytest.approx([(30 * high / low) ** (1 / 29)] * 29, rel=1e-12)
    assert law.nominal_displacement(grid[0], cutoff, size) == pytest.approx(0.5 / math.sqrt(15))


def test_a_grid_of_temperatures_needs_two_and_room_between_them():
    with pytest.raises(ArgumentError, match="2 of them or more; got 1"):
        law.temperature_grid(3, 32, 1)
    with pytest.raises(ArgumentError, match="cutoff 200 leaves no temperatures between"):
        law.temperature_grid(200, 32)
