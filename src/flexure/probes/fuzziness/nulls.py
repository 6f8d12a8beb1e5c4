"""What layers of independent weights would give, beside each value of a layer."""

import torch

from flexure.formulas.fuzziness import Index, KaufmannLinear
from flexure.formulas.memberships import SCOPES, Ends, Interval
from flexure.formulas.null_layers import LAWS, Expected, null_of_fixed_ends, null_of_moving_ends

__all__ = ["null_columns"]

_Z95 = 1.96


def null_columns(
    weight: torch.Tensor, interval: Interval, ends: Ends, index: Index, rms: float, kept: int, seed: int
) -> dict[str, float]:
    """For each law the expected index and distance from the center, and where 95 % of such layers lie."""
    found: dict[str, float] = {}
    if not rms > 0 or kept < 2:
        return found
    for law in LAWS:
        for name, own in (("fuzziness", index), ("center_distance", KaufmannLinear())):
            if interval.moves:
                axes = SCOPES[interval.scope]
                sets = weight.shape[:axes].numel()
                expected = null_of_moving_ends(own, law, interval, sets, weight.numel() // sets, seed)
            else:
                wide = ends.is_wide
                expected = null_of_fixed_ends(own, law, Ends(ends.low[wide], ends.high[wide]), rms, kept)
            found |= _columns(f"{name}_{law}", expected, name == "center_distance")
    return found


def _columns(name: str, expected: Expected, is_distance: bool) -> dict[str, float]:
    value = 1 - expected.value if is_distance else expected.value  # the linear index is 1 - the mean distance
    return {
        name: value,
        f"{name}_low": value - _Z95 * expected.std,
        f"{name}_high": value + _Z95 * expected.std,
    }
