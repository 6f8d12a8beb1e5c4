"""What all pictures share."""

import re

from flexure.charts.theme import legend_of


def columns(names, width: int) -> int:
    """What the expression of the columns comes to at a width."""
    needed = [int(number) for number in re.findall(r"width >= (\d+)", legend_of(names).columns.expr)]
    return 1 + sum(width >= number for number in needed)


def test_a_legend_has_as_many_columns_as_fit():
    short, long = [f"net {i}" for i in range(5)], [f"a network with a name, {i}" for i in range(5)]
    assert [columns(short, width) for width in (100, 200, 640)] == [1, 2, 5]
    assert [columns(long, width) for width in (100, 460, 640)] == [1, 2, 3]


def test_what_is_cut_takes_no_more_room():
    assert columns(["n" * 30] * 3, 640) == columns(["n" * 300] * 3, 640) == 3


def test_one_short_name_among_long_ones_leaves_room_for_them():
    assert columns(["a", "a network with a name"], 240) == 2 and columns(["a network with a name"] * 2, 240) == 1


def test_there_is_no_legend_where_there_is_no_choice():
    assert legend_of(["one"]) is None and legend_of([]) is None
