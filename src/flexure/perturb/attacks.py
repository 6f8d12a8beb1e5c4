"""Images made to fool a network: FGSM and PGD in pixel space, within eps of the image and within the bounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F

from flexure import rng
from flexure.bench import Mounted
from flexure.errors import ArgumentError, SpecimenError, nearest

__all__ = [
    "LOSSES", "STARTS", "Attacked", "Box", "Network", "classes", "fgsm", "logits_of", "margins", "outputs", "pgd",
    "relative_step", "sign_noise", "slope", "uniform_in",
]  # fmt: skip

Network = Callable[[torch.Tensor], torch.Tensor]
"""From raw images ``(b, ...)`` to one number per class ``(b, classes)``."""


def logits_of(mounted: Mounted) -> Network:
    """A network on the bench as attacks want it: raw images in, one number per class out."""
    return lambda x: classes(mounted.forward(mounted.normalized(x)))


def classes(output: torch.Tensor) -> torch.Tensor:
    """Outputs ``(b, classes)``, in float32 at least; a single output f is that of class 1 beside 0 for class 0.

    >>> classes(torch.tensor([2.0, -1.0])).tolist()
    [[0.0, 2.0], [0.0, -1.0]]
    """
    f = output.to(torch.promote_types(output.dtype, torch.float32)).reshape(len(output), -1)
    return torch.cat([torch.zeros_like(f), f], 1) if f.shape[1] == 1 else f


def margins(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    r"""By how much each image is taken for another class, :math:`\max_{k \ne y} f_k - f_y`; below 0 it is not.

    >>> margins(torch.tensor([[2.0, 0.5, 1.0]]), torch.tensor([0])).tolist()
    [-1.0]
    """
    own = f.gather(1, y[:, None])
    return f.scatter(1, y[:, None], -torch.inf).amax(1) - own[:, 0]


def _cross_entropy(f: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(f, y, reduction="none")


LOSSES: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"cross-entropy": _cross_entropy, "margin": margins}
)
"""What an attack makes large, from outputs ``(b, classes)`` and labels ``(b,)`` to a number per image."""


@dataclass(frozen=True, eq=False)
class Box:
    """Where an attack may go: within eps of each image in every pixel, and within the bounds.

    Attributes:
        low: The smallest values ``(b, ...)``.
        high: The largest.
    """

    low: torch.Tensor
    high: torch.Tensor

    @classmethod
    def around(cls, x: torch.Tensor, eps: float, bounds: tuple[float, float]) -> "Box":
        """Around raw images.

        Raises:
            ArgumentError: eps is negative or not finite.
        """
        if not 0 <= eps < float("inf"):
            raise ArgumentError(f"attack: eps must be finite, 0 or more; got {eps}.")
        return cls((x - eps).clamp(*bounds), (x + eps).clamp(*bounds))

    def nearest(self, x: torch.Tensor) -> torch.Tensor:
        """The images of the box next to these."""
        return torch.clamp(x, self.low, self.high)


def slope(
    network: Network, x: torch.Tensor, y: torch.Tensor, loss: str = "cross-entropy"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs ``(b, classes)`` at raw images, and the gradient of each image's loss with respect to its pixels.

    Gradients of weights are neither computed nor touched. Where a GPU's memory is too small, in halves.

    Raises:
        ArgumentError: No such loss.
        SpecimenError: The loss has no gradient with respect to the images.
    """
    if loss not in LOSSES:
        raise ArgumentError(f"attack: no loss {loss!r}. {nearest(str(loss), LOSSES)}")
    f, gradient = _in_halves(lambda x, y: _slope(network, x, y, loss), x, y)
    return f, gradient


def outputs(network: Network, x: torch.Tensor) -> torch.Tensor:
    """Outputs ``(b, classes)`` at raw images; where a GPU's memory is too small, in halves."""
    return _in_halves(lambda x: (network(x),), x)[0]


def _in_halves(compute: Callable[..., tuple[torch.Tensor, ...]], *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a function makes of these rows; where memory does not hold the whole, half by half."""
    try:
        return compute(*tensors)
    except torch.cuda.OutOfMemoryError as wrong:
        if len(tensors[0]) == 1:
            raise SpecimenError("out of memory for a single image. Use smaller images or device='cpu'.") from wrong
    torch.cuda.empty_cache()
    parts = [_in_halves(compute, *half) for half in zip(*(part.chunk(2) for part in tensors), strict=True)]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def _slope(network: Network, x: torch.Tensor, y: torch.Tensor, loss: str) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        f = network(x)
        total = LOSSES[loss](f, y).sum()
    try:
        (gradient,) = torch.autograd.grad(total, x)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as wrong:
        first = str(wrong).splitlines()[0].rstrip(". ")
        raise SpecimenError(f"the output has no gradient with respect to the image ({first}).") from wrong
    return f.detach(), gradient


def fgsm(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    eps: float,
    bounds: tuple[float, float],
    loss: str = "cross-entropy",
) -> torch.Tensor:
    r"""Where does one step of size eps along the sign of the gradient lead?

    .. math:: x' = \operatorname{clip}(x + \varepsilon \operatorname{sign} \nabla_x L(x, y))

    Args:
        network: From raw images to one number per class; normalization belongs inside.
        x: Raw images ``(b, ...)`` within the bounds.
        y: Their classes ``(b,)``.
        eps: Largest change of a pixel, in the unit of the images.
        bounds: Smallest and largest value that a pixel may have.
        loss: A name in ``LOSSES``.

    Returns:
        Images like ``x``, within eps of it and within the bounds.

    Cost: one forward and one backward pass.
    Exact case: a linear network, away from the bounds: the margin of two classes falls by
        :math:`\varepsilon \|w_1 - w_0\|_1`, and no attack does better.
    Source: Goodfellow, Shlens and Szegedy, Explaining and Harnessing Adversarial Examples (2015).
    """
    _, gradient = slope(network, x, y, loss)
    return Box.around(x, eps, bounds).nearest(x + eps * gradient.sign())


def uniform_in(
    x: torch.Tensor, index: torch.Tensor, *, eps: float, bounds: tuple[float, float], seed: int, draw: int = 0
) -> torch.Tensor:
    """Images drawn uniformly within eps, clipped to the bounds: the same for the same index, seed and draw.

    Images of different eps are drawn with the same numbers.
    """
    count = x[0].numel() if len(x) else 0
    u = rng.uniform(count, seed=seed, purpose="attack: start", index=index.to(x.device), draw=draw, dtype=x.dtype)
    return Box.around(x, eps, bounds).nearest(x + eps * (2 * u - 1).view(x.shape))


def sign_noise(
    x: torch.Tensor, index: torch.Tensor, *, eps: float, bounds: tuple[float, float], seed: int, draw: int = 0
) -> torch.Tensor:
    """Every pixel moved up or down by eps at random, clipped to the bounds: what an FGSM that knew nothing would do."""
    count = x[0].numel() if len(x) else 0
    words = rng.integers(count, seed=seed, purpose="attack: signs", index=index.to(x.device), draw=draw)
    signs = ((words & 1) * 2 - 1).to(x.dtype).view(x.shape)
    return Box.around(x, eps, bounds).nearest(x + eps * signs)


STARTS = ("random", "clean", "fgsm")
"""Names of a random image of the box, of the image itself, and of the one that FGSM finds."""


@dataclass(eq=False)
class Attacked:
    """The worst that an attack met on its way, image by image.

    Attributes:
        images: The image with the largest margin ``(b, ...)``.
        margin: That margin ``(b,)``; above 0 the image is taken for another class.
        is_right: Whether the network was right at every image that was looked at.
        first: The step of any start at which it was first wrong ``(b,)``; -1 where it never was.
        last: The last image of the first start, as plain PGD would return it.
        last_is_right: Whether the network is right there.
        is_finite: Whether all outputs on the way were finite.
    """

    images: torch.Tensor
    margin: torch.Tensor
    is_right: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    last_is_right: torch.Tensor
    is_finite: torch.Tensor

    @classmethod
    def nothing(cls, x: torch.Tensor) -> "Attacked":
        """Before anything was looked at."""
        yes = torch.ones(len(x), dtype=torch.bool, device=x.device)
        margin = torch.full((len(x),), -torch.inf, device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
        return cls(x, margin, yes, torch.full_like(yes, -1, dtype=torch.int64), x, yes, yes)

    def see(self, images: torch.Tensor, f: torch.Tensor, y: torch.Tensor, step: int) -> torch.Tensor:
        """Look at images on the way, with their outputs; whether the network is right on each."""
        margin, is_right = margins(f, y), f.argmax(1) == y
        self.is_finite = self.is_finite & f.isfinite().all(1)
        is_news = ~is_right & ((self.first < 0) | (self.first > step))
        self.first = torch.where(is_news, step, self.first)
        is_worse = margin > self.margin
        self.images = torch.where(is_worse.view(-1, *[1] * (images.ndim - 1)), images, self.images)
        self.margin = torch.where(is_worse, margin, self.margin)
        self.is_right = self.is_right & is_right
        return is_right


def pgd(
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    eps: float,
    bounds: tuple[float, float],
    loss: str = "cross-entropy",
    steps: int = 40,
    step: float | None = None,
    starts: Sequence[str] = STARTS,
    seed: int = 0,
) -> Attacked:
    r"""What is the worst image on a climb of many small steps, from several starts?

    .. math:: x_{t+1} = \operatorname{clip}(x_t + \alpha \operatorname{sign} \nabla_x L(x_t, y))

    where clipping is to the box: within eps of x and within the bounds. Every image on the way is looked at, none is
    passed by because it is not the last.

    Args:
        network: From raw images to one number per class; normalization belongs inside.
        x: Raw images ``(b, ...)`` within the bounds.
        y: Their classes ``(b,)``.
        index: Image indices ``(b,)``, int64, that key the random starts.
        eps: Largest change of a pixel, in the unit of the images.
        bounds: Smallest and largest value that a pixel may have.
        loss: ``"cross-entropy"`` or ``"margin"``; the latter has a gradient also where the network is very sure.
        steps: Steps from each start.
        step: Size :math:`\alpha` of a step as a share of eps; None: a tenth, or as much more as makes the steps reach
            two and a half times across.
        starts: Names in ``STARTS``, in order; ``"random"`` may be repeated, with other numbers each time.
        seed: Decides the random starts.

    Returns:
        The worst that was met, and what plain PGD from the first start ends with.

    Cost: ``len(starts) * (steps + 1)`` forward passes, all but one per start with a backward pass; ``"fgsm"`` takes
        one more.
    Exact case: one step of size eps from the clean image ends where FGSM ends.
    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks (2018), which takes the last
        image; the margin loss after Carlini and Wagner (2017).
    """
    box, size = Box.around(x, eps, bounds), eps * relative_step(steps, step)
    found = Attacked.nothing(x)
    for number, start in enumerate(starts):
        draw = starts[:number].count("random")
        at = _start(start, network, x, y, index, eps=eps, bounds=bounds, seed=seed, draw=draw)
        for count in range(steps):
            f, gradient = slope(network, at, y, loss)
            found.see(at, f, y, count)
            at = box.nearest(at + size * gradient.sign())
        is_right = found.see(at, outputs(network, at), y, steps)
        if number == 0:
            found.last, found.last_is_right = at, is_right
    return found


def relative_step(steps: int, step: float | None = None) -> float:
    """Size of a step as a share of eps, where it is not given.

    >>> relative_step(40), relative_step(10), relative_step(40, 0.5)
    (0.1, 0.25, 0.5)
    """
    return max(0.1, 2.5 / steps) if step is None else step


def _start(
    start: str,
    network: Network,
    x: torch.Tensor,
    y: torch.Tensor,
    index: torch.Tensor,
    *,
    eps: float,
    bounds: tuple[float, float],
    seed: int,
    draw: int,
) -> torch.Tensor:
    if start == "random":
        return uniform_in(x, index, eps=eps, bounds=bounds, seed=seed, draw=draw)
    if start == "fgsm":
        return fgsm(network, x, y, eps=eps, bounds=bounds)
    if start != "clean":
        raise ArgumentError(f"attack: no start {start!r}. {nearest(str(start), STARTS)}")
    return Box.around(x, 0.0, bounds).nearest(x)
