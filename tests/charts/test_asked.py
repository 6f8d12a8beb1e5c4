"""What a picture was asked to show."""

import pytest

from flexure.charts.asked import asked
from flexure.errors import ArgumentError

_VALID = ("R", "D", "G")


@pytest.mark.parametrize(("y", "names"), [(None, ["R"]), ("D", ["D"]), (["G", "D"], ["G", "D"])])
def test_one_name_or_several_or_none_are_the_quantities_to_draw(y, names):
    assert asked("sensitivity", y, _VALID, ["R"]) == names


@pytest.mark.parametrize(("y", "name"), [("error", "error"), (["R", "loss"], "loss"), ([], "")])
def test_the_first_that_cannot_be_drawn_is_named_with_those_that_can(y, name):
    with pytest.raises(ArgumentError, match=f"chart of sensitivity: y='{name}' cannot be drawn.*Valid: D, G, R"):
        asked("sensitivity", y, _VALID, ["R"])
