"""Numbers as a reader wants them: as many digits as the error supports, no more."""

import math
from dataclasses import dataclass
from typing import Any

from flexure.charts.scales import Z95

__all__ = ["Number", "as_given", "duration", "interval", "number", "plain", "share_interval"]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Number:
    """A value with its standard error, as text.

    Attributes:
        value: The value.
        error: The standard error, empty where there is none.
        power: ``×10⁻⁵`` and the like, empty where it is not needed; it applies to both.
    """

    value: str
    error: str = ""
    power: str = ""

    def __str__(self) -> str:
        both = f"{self.value} ± {self.error}" if self.error else self.value
        return f"({both}){self.power}" if self.power and self.error else both + self.power


def number(value: float | None, error: float | None = None) -> Number | None:
    """The value with its error to two significant digits, the value to the same place; None where there is no value.

    >>> str(number(0.07003, 0.00318)), str(number(0.65, None)), str(number(3.21e-6, 4.4e-7))
    ('0.0700 ± 0.0032', '0.650', '(3.21 ± 0.44)×10⁻⁶')
    """
    if value is None or not math.isfinite(value):
        return None
    size = max(abs(value), error if error is not None and math.isfinite(error) else 0.0)
    exponent = math.floor(math.log10(size)) if size else 0
    power = exponent if not -4 < exponent < 5 else 0
    value = value / 10.0**power
    times = "×10" + str(power).translate(_SUPERSCRIPTS) if power else ""
    if error is None or not math.isfinite(error):
        return Number(plain(value), power=times)
    error = error / 10.0**power
    places = _places(error) if error > 0 else _places(value, digits=4)
    return Number(_fixed(value, places), _fixed(error, places) if error > 0 else "0", times)


def duration(seconds: float) -> str:
    """A time in words; empty where there is none.

    >>> [duration(seconds) for seconds in (0.04, 75, 4000, 200_000)]
    ['0.0 s', '1 min 15 s', '1 h 6 min', '55 h 33 min']
    """
    if not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def interval(value: float | None, error: float | None) -> str:
    """The 95 % interval, value ± 1.96 standard errors, in words; empty where there is none.

    >>> interval(0.07003, 0.00318)
    '0.0638 to 0.0763'
    """
    if value is None or error is None or not math.isfinite(value) or not math.isfinite(error):
        return ""
    places = _places(error) if error > 0 else _places(value, digits=4)
    return f"{_fixed(value - Z95 * error, places)} to {_fixed(value + Z95 * error, places)}"


def share_interval(value: float | None, error: float | None, n: int) -> str:
    """Wilson's 95 % interval of a share, in words: within 0 and 1, and with a width where all images or none were so.

    A share that is a mean over draws knows more than that of as many single answers: its standard error says how many
    of them it is worth.

    >>> share_interval(0.995, 0.005, 200), share_interval(1.0, 0.0, 500), share_interval(0.5, 0.02, 150)
    ('0.972 to 0.999', '0.9924 to 1.0000', '0.461 to 0.539')
    """
    if value is None or error is None or not math.isfinite(value) or not math.isfinite(error) or n < 1:
        return ""
    worth = value * (1 - value) / error**2 if error > 0 else float(n)
    pull = Z95**2 / worth
    middle, half = value + pull / 2, math.sqrt(pull * value * (1 - value) + pull**2 / 4)
    low, high = max((middle - half) / (1 + pull), 0.0), min((middle + half) / (1 + pull), 1.0)
    places = max(_places(half / (1 + pull)), 3)
    return f"{_fixed(low, places)} to {_fixed(high, places)}"


def plain(value: float, digits: int = 3) -> str:
    """A number of its own to so many significant digits.

    >>> plain(0.65), plain(1234.5), plain(12.0)
    ('0.650', '1234', '12.0')
    """
    return _fixed(value, _places(value, digits))


def as_given(value: Any) -> str:
    """A field that was asked for, as its file has it; a whole number among gaps has become a fraction on the way.

    >>> as_given(1281167.0), as_given(0.1), as_given(math.nan), as_given("VGG11")
    ('1281167', '0.1', '–', 'VGG11')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _places(value: float, digits: int = 2) -> int:
    """Digits after the point that show so many significant ones."""
    if value == 0 or not math.isfinite(value):
        return digits
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), 12)


def _fixed(value: float, places: int) -> str:
    return f"{value:.{places}f}".replace("-", "−")
