"""The variance of an inner product of two sketches, term by term over all pairs of numbers that may meet in a place."""

import itertools

import numpy as np


def of_whole(g, h, size):
    """Of vectors whose runs of ``size`` numbers are turned: two numbers of one run never meet, others once in size."""
    run = np.arange(len(g)) // size
    apart = run[:, None] != run
    terms = np.outer(g**2, h**2) + np.outer(g * h, g * h)
    return terms[apart].sum() / size


def of_outer(g, h, size):
    """Of matrices ``(p, d)``, places of whose numbers are sums of random places of their rows and columns."""
    total = 0.0
    for product in (g.T @ h, g @ h.T):
        apart = ~np.eye(len(product), dtype=bool)
        total += (product**2 + product * product.T)[apart].sum() / size
    both = (2 if size % 2 == 0 else 1) / size**2
    for p, q in itertools.combinations(range(g.shape[0]), 2):
        for c, d in itertools.combinations(range(g.shape[1]), 2):
            one = g[p, c] * h[q, d] + g[q, d] * h[p, c]
            two = g[p, d] * h[q, c] + g[q, c] * h[p, d]
            total += (one**2 + two**2) / size + 2 * one * two * both
    return total
