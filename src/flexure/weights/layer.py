"""The weight of one layer, and which of several a user means."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch

from flexure.errors import ArgumentError, nearest

__all__ = ["LayerWeight", "select"]


@dataclass(frozen=True, eq=False)
class LayerWeight:
    r"""The weight of one layer.

    Attributes:
        name: The layer's place in the network, as the other probes call it; behind it, where a layer has several, the
            parameter's name.
        kind: ``"Conv2d"``, ``"ConvTranspose1d"``, ``"Linear"``, …, or a class that extends one of these.
        weight: As it lies in the layer; of a convolution ``(a, b, *kernel)``, a filter for each pair of the first two
            axes. None where ``status`` says why there is none. It has a gradient where gradients are on.
        channels: Channels in and out and, where there are several, groups: ``"64→128"``, ``"32→32, 32 groups"``.
        status: Empty, or why the weight cannot be read.
        base: Kind that the module's class extends; as a pattern for layers as good as the kind. Empty: none.
        groups: Groups of a convolution.
        fan_in: Number whose root PyTorch's default initializer divides by: it draws from
            :math:`\pm 1/\sqrt{\text{fan-in}}`. None where the layer is drawn otherwise.
    """

    name: str
    kind: str
    weight: torch.Tensor | None
    channels: str = ""
    status: str = ""
    base: str = ""
    groups: int = 1
    fan_in: int | None = None

    @property
    def kernel(self) -> tuple[int, ...]:
        """Sides of a filter."""
        return () if self.weight is None else tuple(self.weight.shape[2:])

    def by_output(self) -> torch.Tensor:
        """The weight with all that one output sums behind the first axis: ``(out, in per group, *kernel)``.

        Raises:
            ValueError: There is no weight.
        """
        if self.weight is None:
            raise ValueError(self.status)
        if "Transpose" not in (self.base or self.kind):
            return self.weight
        into, out, *kernel = self.weight.shape
        parts = self.weight.reshape(self.groups, into // self.groups, out, *kernel)
        return parts.transpose(1, 2).reshape(self.groups * out, into // self.groups, *kernel)


def select(
    found: Sequence[LayerWeight], layers: str | Sequence[str] | None, asker: str, what: str = "convolution"
) -> list[LayerWeight]:
    """Those whose name or kind matches one of the patterns (``*`` and ``?`` as in file names); None: all.

    Args:
        found: To choose from.
        layers: One pattern or several.
        asker: Who asks, for the error message.
        what: What there is to choose from, likewise.

    Raises:
        ArgumentError: A pattern matches none.
    """
    if layers is None or not found:
        return list(found)
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(_matches(one, pattern) for one in found):
            names = {text for one in found for text in (one.name, one.kind, one.base) if text}
            raise ArgumentError(f"{asker}: no {what} matches {pattern!r}. {nearest(pattern, names)}")
    return [one for one in found if any(_matches(one, pattern) for pattern in patterns)]


def _matches(one: LayerWeight, pattern: str) -> bool:
    return any(fnmatchcase(text, pattern) for text in (one.name, one.kind, one.base) if text)
