"""Attacks of the Adversarial Robustness Toolbox, an optional package, on networks as our own attacks take them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import nn

from flexure import rng
from flexure.ecosystem import toolbox
from flexure.errors import SpecimenError
from flexure.perturb.attacks import Box, Network, outputs

__all__ = ["AUTOATTACK_PASSES", "MINIMUM", "Minimum", "autoattack", "carlini_wagner", "deepfool", "jsma"]

DEEPFOOL_STEPS = 100
CARLINI_WAGNER_STEPS = (6, 100)
"""Weights of the margin that are tried, from a tenth, and steps with each."""
JSMA_PAIRS = 300
"""Pairs of pixels changed at most, and no more than three tenths of all pixels."""
SQUARE_QUERIES = 5000
APGD_STEPS = 100
_OVERSHOOT = 0.02


def autoattack(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    eps: float,
    bounds: tuple[float, float],
    seed: int = 0,
) -> torch.Tensor:
    """What do four attacks without options find within eps, one after another on what the others left?

    PGD with steps that halve where it does not get on, on the cross-entropy and, for three classes and more, on the
    ratio of differences of outputs; DeepFool, cut off at eps; and Square, a search that uses no gradient.

    Args:
        network: From raw images to one number per class.
        x: Raw images ``(b, C, H, W)`` within the bounds.
        y: Their classes ``(b,)``.
        index: Image indices ``(b,)``; the first one keys the random numbers, which are the batch's.
        eps: Largest change of a pixel.
        bounds: Smallest and largest value that a pixel may have.
        seed: Decides the random numbers, together with the first index.

    Returns:
        Images like ``x``, within eps and the bounds; those that were wrong at first, or withstand, as they were.

    Raises:
        MissingPackageError: The toolbox is not installed.
        SpecimenError: The network gives probabilities.

    Cost: up to 5,000 forward passes for an image that withstands.
    Source: the toolbox's choice after Croce and Hein, Reliable Evaluation of Adversarial Robustness with an Ensemble of
        Diverse Parameter-free Attacks (2020), whose own has FAB in DeepFool's place and a targeted ratio.
    """
    box, found = Box.around(x, eps, bounds), x.clone()
    left = outputs(network, x).argmax(1) == y
    if eps == 0:
        return found
    with _victim(network, x, index, bounds, "autoattack", seed) as victim:
        for attack in _ensemble(victim.classifier, eps / (bounds[1] - bounds[0]), len(x)):
            if not bool(left.any()):
                break
            tried = box.nearest(victim.attacked(attack, x, left, y))
            fooled = left & (outputs(network, tried).argmax(1) != y)
            found = torch.where(fooled.view(-1, *[1] * (x.ndim - 1)), tried, found)
            left = left & ~fooled
    return found


def _ensemble(classifier: Any, eps: float, size: int) -> Iterator[Any]:
    """The four attacks, in the toolbox's order."""
    evasion = toolbox("attacks.evasion")
    climb = {"eps": eps, "eps_step": eps, "max_iter": APGD_STEPS, "nb_random_init": 1, "batch_size": size}
    losses = ["cross_entropy", *(["difference_logits_ratio"] if classifier.nb_classes > 2 else [])]
    for loss in losses:
        yield evasion.AutoProjectedGradientDescent(classifier, loss_type=loss, verbose=False, **climb)
    yield evasion.DeepFool(classifier, max_iter=DEEPFOOL_STEPS, epsilon=1e-3, batch_size=size, verbose=False)
    yield evasion.SquareAttack(classifier, eps=eps, max_iter=SQUARE_QUERIES, batch_size=size, verbose=False)


def deepfool(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    bounds: tuple[float, float],
    seed: int = 0,
) -> torch.Tensor:
    r"""How near in Euclidean distance is the nearest image of another class, going from one linear problem to the next?

    At most a hundred steps, two hundredths too far in the end. Arguments as for :func:`autoattack`.

    Exact case: a linear network of two classes, away from the bounds: the distance is
        :math:`1.02\, |f_1 - f_0| / \|w_1 - w_0\|_2`.
    Source: Moosavi-Dezfooli, Fawzi and Frossard, DeepFool (2016).
    """
    with _victim(network, x, index, bounds, "deepfool", seed) as victim:
        options = {"max_iter": DEEPFOOL_STEPS, "epsilon": _OVERSHOOT, "batch_size": len(x), "verbose": False}
        attack = toolbox("attacks.evasion").DeepFool(victim.classifier, **options)
        return victim.attacked(attack, x, _right(network, x, y), y)


def carlini_wagner(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    bounds: tuple[float, float],
    seed: int = 0,
) -> torch.Tensor:
    """How near in Euclidean distance is an image of another class, weighing distance against the margin?

    A hundred steps with each of six weights. Arguments as for :func:`autoattack`.

    Source: Carlini and Wagner, Towards Evaluating the Robustness of Neural Networks (2017).
    """
    searches, steps = CARLINI_WAGNER_STEPS
    with _victim(network, x, index, bounds, "carlini-wagner", seed) as victim:
        options = {"initial_const": 0.1, "binary_search_steps": searches, "max_iter": steps, "batch_size": len(x)}
        attack = toolbox("attacks.evasion").CarliniL2Method(victim.classifier, verbose=False, **options)
        return victim.attacked(attack, x, _right(network, x, y), y)


def jsma(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    bounds: tuple[float, float],
    seed: int = 0,
) -> torch.Tensor:
    """How few pixels must be changed, two by two, until the image is of the class that comes second?

    Half the range of the bounds per step and pixel. Arguments as for :func:`autoattack`.

    Source: Papernot et al., The Limitations of Deep Learning in Adversarial Settings (2016), which aims at every class
        in turn.
    """
    second = outputs(network, x).scatter(1, y[:, None], -torch.inf).argmax(1)
    most = min(0.3, 2 * JSMA_PAIRS / max(1, x[0].numel()))
    with _victim(network, x, index, bounds, "jsma", seed) as victim:
        options = {"theta": 0.5, "gamma": most, "batch_size": len(x), "verbose": False}
        attack = toolbox("attacks.evasion").SaliencyMapMethod(victim.classifier, **options)
        return victim.attacked(attack, x, _right(network, x, y), second)


@dataclass(frozen=True)
class Minimum:
    """An attack that looks for the nearest image, not for any within a budget.

    Attributes:
        attack: From a network, images, labels and indices to the images it found.
        norm: In what it is near: ``"l2"`` is the Euclidean distance, ``"l0"`` how many numbers differ.
        passes: Passes over the images at most, backward ones counted with the forward ones before them.
    """

    attack: Callable[..., torch.Tensor]
    norm: str
    passes: int

    def distance(self, x: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """How far each image is from where it was ``(b,)``, float64, in the images' unit or in numbers changed."""
        change = (found.double() - x.double()).flatten(1)
        return (change.abs() > 1e-6).double().sum(1) if self.norm == "l0" else change.norm(dim=1)


_GRADIENTS = 10  # classes whose gradients an attack looks at
MINIMUM: Mapping[str, Minimum] = MappingProxyType(
    {
        "deepfool": Minimum(deepfool, "l2", (DEEPFOOL_STEPS + 1) * (_GRADIENTS + 1)),
        "carlini-wagner": Minimum(carlini_wagner, "l2", CARLINI_WAGNER_STEPS[0] * (CARLINI_WAGNER_STEPS[1] * 13 + 1)),
        "jsma": Minimum(jsma, "l0", 2 * JSMA_PAIRS + 2),
    }
)
"""Attacks that look for the nearest image of another class."""
AUTOATTACK_PASSES = 2 * (APGD_STEPS + 1) * 2 + (DEEPFOOL_STEPS + 1) * (_GRADIENTS + 1) + SQUARE_QUERIES
"""Passes over the images at most, per eps."""


@dataclass(frozen=True, eq=False)
class _Victim:
    """A network as the toolbox wants it: images from 0 to 1, whatever their bounds."""

    classifier: Any
    low: float
    width: float

    def attacked(self, attack: Any, x: torch.Tensor, which: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Some of the images attacked, within the bounds; the others as they are."""
        found = x.clone()
        if bool(which.any()):
            unit = ((x[which].float() - self.low) / self.width).clamp(0, 1)
            goal = nn.functional.one_hot(y[which], self.classifier.nb_classes)
            made = attack.generate(unit.cpu().numpy(), y=goal.cpu().numpy().astype(np.float32))
            back = torch.from_numpy(np.asarray(made)).to(x) * self.width + self.low
            found[which] = back.clamp(self.low, self.low + self.width)
        return found


@contextmanager
def _victim(
    network: Network, x: torch.Tensor, index: torch.Tensor, bounds: tuple[float, float], name: str, seed: int
) -> Iterator[_Victim]:
    """The network in the toolbox's clothes, with seeded generators of NumPy and torch around it."""
    estimators = toolbox("estimators.classification")
    low, width = bounds[0], bounds[1] - bounds[0]
    classifier = estimators.PyTorchClassifier(
        model=_InUnits(network, low, width, x),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=outputs(network, x[:1]).shape[1],
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    own = rng.key(seed, f"attack: {name} from image {int(index[0])}")[0]
    try:
        with rng.seeded(own), torch.enable_grad():
            yield _Victim(classifier, low, width)
    except ValueError as wrong:
        if "probabilities" not in str(wrong):
            raise
        raise SpecimenError(
            f"{name} needs the outputs before the softmax, and these look like probabilities. Take the softmax off."
        ) from wrong


class _InUnits(nn.Module):
    """A network of images from 0 to 1. The network itself is out of reach, and its weights get no gradients."""

    def __init__(self, network: Network, low: float, width: float, like: torch.Tensor) -> None:
        super().__init__()
        self._of = network, low, width, like.dtype, like.device

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        network, low, width, dtype, device = self._of
        x = u.to(device, dtype) * width + low
        f = _ByInput.apply(x, network) if torch.is_grad_enabled() and x.requires_grad else network(x)
        return f.to(u)


class _ByInput(torch.autograd.Function):
    """A network whose gradient goes to its input alone."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, network: Network) -> torch.Tensor:
        ctx.x = x.detach().requires_grad_()
        with torch.enable_grad():
            ctx.f = network(ctx.x)
        return ctx.f.detach()

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None]:
        (slope,) = torch.autograd.grad(ctx.f, ctx.x, slopes[0], retain_graph=True)
        return slope, None


def _right(network: Network, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return outputs(network, x).argmax(1) == y
