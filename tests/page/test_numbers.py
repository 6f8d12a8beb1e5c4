import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flexure.page.numbers import duration, interval, number, plain, share_interval
from flexure.stats import Proportions


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.07003, 0.00318, "0.0700 ± 0.0032"),
        (12.345, 1.9, "12.3 ± 1.9"),
        (1234.5, 87.0, "1234 ± 87"),
        (-0.5, 0.25, "−0.50 ± 0.25"),
        (3.21e-6, 4.4e-7, "(3.21 ± 0.44)×10⁻⁶"),
        (1.5e7, 2e5, "(1.500 ± 0.020)×10⁷"),
        (-5.3e-4, 0.0108, "−0.001 ± 0.011"),
        (2e-7, 3e-5, "(0.0 ± 3.0)×10⁻⁵"),
        (1.0, 0.0, "1.000 ± 0"),
        (0.0, 0.0, "0.0000 ± 0"),
        (0.65, None, "0.650"),
        (0.65, math.nan, "0.650"),
    ],
)
def test_a_number_has_the_digits_that_its_error_supports(value, error, text):
    assert str(number(value, error)) == text


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_was_not_measured_is_no_number(value):
    assert number(value, 0.1) is None and interval(value, 0.1) == ""


def test_an_interval_is_the_value_plus_minus_1_96_errors_even_below_zero():
    assert interval(0.07, 0.01) == "0.050 to 0.090"
    assert interval(0.01, 0.01) == "−0.010 to 0.030"
    assert interval(0.01, None) == ""


def test_plain_numbers_keep_three_digits():
    assert [plain(x) for x in (0.0012345, 0.5, 99.95, 0.0)] == ["0.00123", "0.500", "100.0", "0.000"]


@given(st.floats(1e-12, 1e12), st.floats(1e-3, 10))
def test_the_text_is_the_value_to_within_its_last_digit(value, share):
    shown = number(value, value * share)
    power = "".join("-0123456789"["⁻⁰¹²³⁴⁵⁶⁷⁸⁹".index(c)] for c in shown.power[3:])
    read = float(shown.value.replace("−", "-")) * 10.0 ** int(power or 0)
    assert abs(read - value) <= 0.06 * value * share + 1e-12 * value


def test_times_are_told_in_words():
    told = [duration(seconds) for seconds in (0.04, 59.94, 75, 4000, 200_000, math.nan)]
    assert told == ["0.0 s", "59.9 s", "1 min 15 s", "1 h 6 min", "55 h 33 min", ""]


def test_the_interval_of_a_share_is_wilsons_and_stays_within_0_and_1():
    """Up to the n - 1 in a standard error, by which 200 images are worth 199."""
    shares = Proportions.of(torch.arange(200)[None] < torch.tensor([[199], [200], [0], [57]]))
    words = [share_interval(float(p), float(se), 200) for p, se in zip(shares.value, shares.se, strict=True)]
    ends = [[float(end) for end in one.split(" to ")] for one in words]
    assert np.allclose(ends, np.transpose(shares.wilson()), atol=7e-4)
