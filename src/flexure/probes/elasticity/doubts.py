"""Whether steps of finite size can be trusted: rounding, kinks that were crossed, steps too large to be linear."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.func import functional_call

from flexure.bench import Mounted, primary
from flexure.probes.elasticity.exact import Moves
from flexure.probes.elasticity.steps import Step, costs, pushed
from flexure.recorder import Emission, Recorder

__all__ = ["Doubts", "advised_step"]

_IMAGES = 4  # whose steps are looked at closely
_POINTS = 64
_KINKED = ("relu", "leakyrelu", "relu6", "prelu", "leaky_relu", "hardtanh")
_NOISY, _LARGE = 0.01, 0.3
_TAKEN = 0.03  # of a residual by a step that is advised: float32 and the limit are both good there


@dataclass(frozen=True)
class Doubts:
    r"""What is known of the steps, from the first few images.

    Attributes:
        linearity: Largest share of an image's residual that its step takes away, :math:`\eta L'' K_{ii}`; up to 0.3 the
            tangent kernel is right to some percent.
        rounding: How far float64 is from what was measured, relative to its norm; 0 in float64.
        crossed: Share of units with a kink (ReLU and the like) whose sign a step changes, over images and points.
    """

    linearity: float
    rounding: float
    crossed: float

    @classmethod
    def of(
        cls,
        mounted: Mounted,
        moves: Moves,
        parameters: Mapping[str, torch.Tensor],
        x: torch.Tensor,
        y: torch.Tensor,
        points: torch.Tensor,
        output: int,
        step: Step,
    ) -> "Doubts":
        """Look closely at a few steps from the network's own weights.

        Args:
            mounted: The network.
            moves: What was measured.
            parameters: Its trainable parameters.
            x: Normalized images to step on.
            y: Their labels.
            points: Normalized images that are watched.
            output: The output that is watched.
            step: What a step is.
        """
        own, slope = moves.own.cpu().numpy(), moves.slope.cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore"):
            taken = np.where(slope == 0, 0.0, np.abs(_curvature(moves.out, y, output, step) * own / slope))
        few = slice(0, _IMAGES)
        again = _again(mounted, parameters, moves.moved[few, :_POINTS], x[few], y[few], points[:_POINTS], output, step)
        return cls(float(np.nanmax(taken, initial=0.0)), *again)

    @property
    def is_noisy(self) -> bool:
        """Whether rounding rules."""
        return self.rounding > _NOISY

    def notes(self, dtype: torch.dtype, step: float, advised: float | None) -> list[str]:
        """What the user should know.

        Args:
            dtype: The arithmetic.
            step: The step that was taken.
            advised: What :func:`advised_step` says of the same network and images; None: nothing.
        """
        found = []
        if self.is_noisy:
            name = str(dtype).removeprefix("torch.")
            larger = (
                f"with step={advised:.1e}, which takes away at most {_TAKEN:.0%} of a residual, "
                if advised is not None and advised > 2 * step
                else ""
            )
            found.append(
                f"Rounding in {name} is {self.rounding:.0%} of what a step changes: measure with dtype='float64', "
                f"{larger}or in the limit (step=None)."
            )
        if self.linearity > _LARGE:
            found.append(
                f"A step takes away up to {self.linearity:.0%} of an image's residual: too large to be read as the "
                "limit."
            )
        return found


@dataclass(eq=False)
class _Kinks:
    """Counts the units with a kink that are on one side before a step and on the other after it.

    Attributes:
        is_chain: Whether a step begins where the one before it ended, instead of where the first began.
    """

    is_chain: bool
    changed: int = 0
    total: int = 0
    _before: list[torch.Tensor] | None = None

    def see(self, above: list[torch.Tensor]) -> None:
        """Take which units of each layer are above their kink: first without a step, then after each."""
        for old, new in zip(self._before or (), above, strict=self._before is not None):
            self.changed, self.total = self.changed + int((old != new).sum()), self.total + old.numel()
        if self._before is None or self.is_chain:
            self._before = above

    @property
    def share(self) -> float:
        """Share of the units, over steps and points."""
        return self.changed / self.total if self.total else 0.0


def _again(
    mounted: Mounted,
    parameters: Mapping[str, torch.Tensor],
    moved: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    points: torch.Tensor,
    output: int,
    step: Step,
) -> tuple[float, float]:
    """How far off what was measured is, and the share of units that change sides, from the same steps once more.

    In float64, where that is another arithmetic and the optimizer has no state of its own.
    """
    is_plain = mounted.dtype == torch.float64 or step.optimizer is not None or mounted.device.type == "mps"
    if not is_plain:
        mounted = replace(mounted, model=copy.deepcopy(mounted.model).double(), dtype=torch.float64)
        parameters = {name: p for name, p in mounted.model.named_parameters() if p.requires_grad}
        x, points = x.double(), points.double()
    kinks = _Kinks(step.sequential)

    def evaluate(values: Mapping[str, torch.Tensor]) -> torch.Tensor:
        out, above = _watched(mounted, values, points)
        kinks.see(above)
        return out[:, [output]]

    expected = torch.stack([push.moved[:, 0] for push in pushed(mounted, parameters, x, y, evaluate, step)])
    fine = expected.isfinite() & moved.isfinite()
    norm = float(expected[fine].norm())
    return 0.0 if is_plain or not norm > 0 else float((moved - expected)[fine].norm()) / norm, kinks.share


def _watched(
    mounted: Mounted, values: Mapping[str, torch.Tensor], points: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs, and which units of each layer with a kink are above it."""
    found: list[torch.Tensor] = []

    def take(emission: Emission) -> None:
        if emission.kind.lower() in _KINKED:
            found.append(emission.value > 0)

    with Recorder(mounted.model, take) as recorder:
        recorder.begin()
        result = functional_call(mounted.model, dict(values), (points,))
    return primary(result, mounted.specimen).flatten(1), found


def _curvature(out: torch.Tensor, y: torch.Tensor, output: int, step: Step) -> np.ndarray:
    """Second derivative of each image's loss by the output that is watched."""
    with torch.enable_grad():
        out = out.detach().requires_grad_()
        (slope,) = torch.autograd.grad(costs(step.loss, out, y).sum(), out, create_graph=True)
        if not slope.requires_grad:
            return np.zeros(len(y))
        (found,) = torch.autograd.grad(slope[:, output].sum(), out, allow_unused=True, materialize_grads=True)
    return found[:, output].double().cpu().numpy()


def advised_step(
    mounted: Mounted,
    moves: Moves,
    parameters: Mapping[str, torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    output: int,
    step: Step,
) -> float | None:
    r"""A step that takes away 3 % of an image's residual, :math:`0.03 / (L'' K_{ii})`, at most at the first few images.

    Args:
        mounted: The network.
        moves: What was measured.
        parameters: Its trainable parameters.
        x: Normalized images to step on.
        y: Their labels.
        output: The output that is watched.
        step: What a step is.

    Returns:
        None where no image has both a curvature and a gradient, as with a loss of straight lines.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
    own = []
    for image in x[:_IMAGES]:
        with torch.enable_grad():
            out = primary(functional_call(mounted.model, leaves, (image[None],)), mounted.specimen).flatten()[output]
        found = torch.autograd.grad(out, list(leaves.values()), allow_unused=True, materialize_grads=True)
        own.append(sum(float(g.double().square().sum()) for g in found))
    taken = np.abs(_curvature(moves.out[:_IMAGES], y[:_IMAGES], output, step)) * np.array(own)
    most = float(np.max(taken[np.isfinite(taken)], initial=0.0))
    return _TAKEN / most if most > 0 else None
