"""Random walks one by one, and the law of Brownian motion that they tend to."""

import math

import numpy as np
from scipy.integrate import quad


def end_place(steps) -> float:
    """Where a single path of these steps ends, in its own range."""
    at = low = high = 0.0
    for step in steps:
        at += step
        low, high = min(low, at), max(high, at)
    return (at - low) / (high - low) if high > low else math.nan


def brownian(value) -> float:
    """The mean of a function of the center distance over Brownian motions."""
    density = lambda d: quad(lambda t: 2 * t * np.cosh(t * d) / np.cosh(t) ** 3, 0, 40)[0]  # noqa: E731
    return quad(lambda d: value(d) * density(d), 0, 1)[0]
