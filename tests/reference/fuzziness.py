"""Indices of fuzziness, intervals and magnitudes, number by number with the math module."""

import math
import statistics

__all__ = ["INDEX", "interval_of"]


def _x_log_x(x):
    return x * math.log(x) if x > 0 else 0.0


def _mean(terms):
    terms = list(terms)
    return math.fsum(terms) / len(terms)


INDEX = {
    "de_luca_termini": lambda mu: -_mean(_x_log_x(m) + _x_log_x(1 - m) for m in mu) / math.log(2),
    "kaufmann_linear": lambda mu: 2 * _mean(min(m, 1 - m) for m in mu),
    "kaufmann_quadratic": lambda mu: 2 * math.sqrt(_mean(min(m, 1 - m) ** 2 for m in mu)),
    "yager": lambda mu, p=2: 1 - _mean(abs(2 * m - 1) ** p for m in mu) ** (1 / p),
    "kosko": lambda mu: sum(min(m, 1 - m) for m in mu) / sum(max(m, 1 - m) for m in mu),
    "quadratic": lambda mu: 4 * _mean(m * (1 - m) for m in mu),
    "alpha_quadratic": lambda mu, alpha=0.5: 4**alpha * _mean((m * (1 - m)) ** alpha for m in mu),
    "exponential": lambda mu: (
        _mean(m * math.exp(1 - m) + (1 - m) * math.exp(m) - 1 for m in mu) / (math.sqrt(math.e) - 1)
    ),
    "order_alpha": lambda mu, alpha=2: (
        _mean(math.log(m**alpha + (1 - m) ** alpha) for m in mu) / ((1 - alpha) * math.log(2))
    ),
    "sine": lambda mu: _mean(math.sin(math.pi * m) for m in mu),
}


def interval_of(weights, kind, q=0.05):
    """The ends for a plain list of weights that share an interval."""
    if kind == "minmax":
        return min(weights), max(weights)
    if kind == "symmetric":
        return -max(map(abs, weights)), max(map(abs, weights))
    if kind == "abs":
        return 0.0, max(map(abs, weights))
    percentiles = statistics.quantiles(weights, n=round(1 / q), method="inclusive")
    return percentiles[0], percentiles[-1]
