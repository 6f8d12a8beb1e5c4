"""How far images are from each other as they are: what to hold a similarity against where nothing better is known."""

import torch

__all__ = ["euclidean"]

_MOST = 2_000**2  # distances; of more none are kept
_NUMBERS = 2**24  # pixels that are looked at in float64 at a time


def euclidean(x: torch.Tensor, to: torch.Tensor) -> torch.Tensor | None:
    """Root of the sum of squared differences of all pixels ``(n, m)``, float32; None where that are too many.

    Args:
        x: Images ``(n, …)``.
        to: Images of the same shape ``(m, …)``.

    >>> euclidean(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[5., 0.]])
    """
    if len(x) * len(to) > _MOST or x.shape[1:] != to.shape[1:]:
        return None
    one, two = x.flatten(1), to.flatten(1)
    step = max(1, _NUMBERS // max(one.shape[1], 1))
    found = torch.empty(len(one), len(two), device=one.device)
    for start in range(0, len(one), step):
        rows = one[start : start + step].double()
        for left in range(0, len(two), step):
            columns = two[left : left + step].double()
            part = torch.cdist(rows, columns, compute_mode="use_mm_for_euclid_dist")
            found[start : start + step, left : left + step] = part
    return found
