import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexure.charts.scales import log_axis, short


def test_the_axis_holds_all_intervals_that_stay_above_zero():
    axis = log_axis([1.0, 0.1], [0.1, 0.01])
    assert axis.low < 0.1 - 1.96 * 0.01 and axis.high > 1 + 1.96 * 0.1 and axis.remarks == []


def test_an_interval_that_reaches_zero_is_cut_and_counted():
    axis = log_axis([1.0, 0.1, 0.1], [0.1, 0.06, 0.051])
    assert axis.low == pytest.approx(0.025, rel=0.3)
    assert axis.remarks == ["2 intervals reach below the axis (1 down to zero); cut there."]


def test_values_of_zero_are_counted_and_do_not_move_the_axis():
    with_zero, without = log_axis([0.0, 1.0], [0.0, 0.1]), log_axis([1.0], [0.1])
    assert (with_zero.low, with_zero.high) == (without.low, without.high)
    assert with_zero.remarks == ["1 value of zero: not on a log axis."]


def test_nothing_measured_still_gives_an_axis_and_says_so():
    assert log_axis([None, None], [None, None]).remarks == ["No value above zero: nothing to draw."]


def test_a_value_that_must_be_seen_is_on_the_axis():
    axis = log_axis([0.01], [0.001], include=1.0)
    assert axis.low < 0.01 and axis.high > 1


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=30), st.floats(0, 3))
def test_ticks_are_few_in_order_and_inside(values, spread):
    axis = log_axis(values, [value * spread for value in values])
    assert 2 <= len(axis.ticks) <= 9 and axis.ticks == sorted(axis.ticks)
    assert axis.low <= axis.ticks[0] and axis.ticks[-1] <= axis.high
    assert all(math.isfinite(end) and end > 0 for end in (axis.low, axis.high)) and axis.low < min(values)


def test_ticks_are_round_numbers():
    assert log_axis([0.07, 1.1], [0.003, 0.03]).ticks == [0.1, 0.2, 0.5, 1.0]
    assert log_axis([1e-4, 1e3], [0, 0]).ticks == [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0]
    assert {0.9, 0.96, 1.0} <= set(log_axis([0.95, 1.05], [0, 0]).ticks)


def test_short_numbers_keep_two_digits():
    assert [short(x) for x in (0.07, 1.0, 9.96, 10.4, 0.00012)] == ["0.070", "1.0", "10", "10", "0.00012"]
