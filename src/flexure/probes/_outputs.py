"""Whether a network gives one number per class: what every probe of right and wrong answers asks first."""

import torch

from flexure.bench import Mounted
from flexure.survey import refuse_unsteady

__all__ = ["count_outputs"]

_FEW = 8


def count_outputs(mounted: Mounted, clean: torch.Tensor) -> tuple[int, str]:
    """The number of outputs, and no reason; or 0, and why they are not one number per class.

    Args:
        mounted: The network.
        clean: Normalized images; a few of the first are looked at.

    Raises:
        SpecimenError: Two clean passes over them differ.

    Cost: four passes over at most eight images.
    """
    if mounted.specimen.task == "features":
        return 0, "features, not one output per class"
    few = clean[:_FEW]
    output = mounted.forward(few)
    if not output.is_floating_point() or output.ndim not in (1, 2) or len(output) != len(few) or not output.numel():
        shape = "×".join(map(str, output.shape[1:])) or "one number"
        return 0, f"the output is {str(output.dtype).removeprefix('torch.')} {shape}, not one number per class"
    refuse_unsteady(mounted, few)
    return output.shape[1] if output.ndim == 2 else 1, ""
