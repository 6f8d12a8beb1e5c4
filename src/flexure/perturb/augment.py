"""Random diffeomorphisms of random size and cut-off, as augmentation of training images."""

import math
from dataclasses import dataclass

import torch
from scipy.special import betaincinv

from flexure import rng
from flexure.errors import ArgumentError
from flexure.formulas import maximum_entropy as law
from flexure.perturb.diffeomorphism import coefficients, displacement_fields
from flexure.perturb.interpolation import check_interpolation, pull_back, working_dtype

__all__ = ["RandomDiffeomorphism"]

PURPOSE = "augmentation"


@dataclass(frozen=True)
class RandomDiffeomorphism:
    r"""Deform training images, each by a maximum-entropy diffeomorphism of its own size and cut-off.

    The cut-off is :math:`c = c_\min + \lfloor B_c (c_\max + 1 - c_\min) \rfloor`, at most :math:`c_\max`, and the
    temperature :math:`T = T_1 + B_T (T_2 - T_1)` between the limits of
    :func:`~flexure.formulas.maximum_entropy.temperature_range` (T1 alone where T2 < T1). Both B follow Beta laws given
    by a ratio r and a concentration s: :math:`\alpha = s r/(r+1)`, :math:`\beta = s/(r+1)`, of mean
    :math:`r/(r+1)`; s = 2 and r = 1 is the uniform law.

    Called on a tensor, it takes one number per image from torch's global generator, as torchvision's transforms do, or
    from ``generator``, and all else follows from that number: ``torch.manual_seed`` reproduces it, and the workers of a
    ``DataLoader``, which seeds each of them anew every epoch, never repeat each other. (A ``generator`` of one's own
    would be copied into each worker: use it outside of them.) Called with the images' ``index``, it draws nothing, and
    the deformation depends on ``(seed, index, draw)`` alone, with the epoch, say, as ``draw``.

    Attributes:
        cutoffs: Smallest and largest cut-off; the smallest at least 2, because at cut-off 1 no temperature gives a
            finite displacement (:math:`\ln c = 0`).
        temperature_law: ``(s, r)`` of the temperature's law, both > 0.
        cutoff_law: ``(s, r)`` of the cut-off's law, both > 0.
        interpolation: ``"bilinear"``, ``"gaussian"`` or ``"nearest"``.

    Raises:
        ArgumentError: A cut-off or a law is out of range, or no such interpolation.

    Exact case: the mean of T at one cut-off is :math:`T_1 + (T_2 - T_1)\, r/(r+1)`.
    Source: the augmentation in the code of Petrini et al., Relative stability toward diffeomorphisms indicates
        performance in deep nets (2021), whose smallest cut-off is 1 by default, and then fails.

    >>> augment = RandomDiffeomorphism(cutoffs=(2, 8))
    >>> augment(torch.rand(3, 32, 32)).shape
    torch.Size([3, 32, 32])
    """

    cutoffs: tuple[int, int] = (2, 15)
    temperature_law: tuple[float, float] = (2.0, 1.0)
    cutoff_law: tuple[float, float] = (2.0, 1.0)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        low, high = (law.check_cutoff(cutoff) for cutoff in self.cutoffs)
        if low > high:
            raise ArgumentError(f"RandomDiffeomorphism: cutoffs must rise; got {self.cutoffs}.")
        object.__setattr__(self, "cutoffs", (low, high))
        for name in ("temperature_law", "cutoff_law"):
            if not all(0 < value < math.inf for value in getattr(self, name)):
                raise ArgumentError(
                    f"RandomDiffeomorphism: {name} must be a concentration s > 0 and a ratio r > 0; "
                    f"got {getattr(self, name)}."
                )
        check_interpolation(self.interpolation)

    def __call__(
        self,
        x: torch.Tensor,
        index: torch.Tensor | int | None = None,
        *,
        seed: int = 0,
        draw: int | torch.Tensor = 0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Deform one image or a batch.

        Args:
            x: An image ``(C, H, W)`` or images ``(b, C, H, W)``, floating point.
            index: Of the image, or ``(b,)``; without one, a random number takes its place.
            seed: The run's seed.
            draw: Number of the draw, with an index; the epoch, for instance.
            generator: Where the random number comes from; torch's global generator unless given.

        Returns:
            The deformed images, same shape, dtype and device.

        Raises:
            ArgumentError: ``x`` is no floating-point image, ``index`` does not fit it, or the image is too small for
                the largest cut-off.
        """
        _check_images(x)
        batch = x if x.dim() == 4 else x[None]
        if index is None:
            index = torch.randint(2**63 - 1, (len(batch),), generator=generator)
        keys = torch.as_tensor(index, dtype=torch.int64, device=x.device).reshape(-1)
        if len(keys) != len(batch):
            raise ArgumentError(f"RandomDiffeomorphism: {len(batch)} images need as many indices; got {len(keys)}.")
        fields = self.fields(keys, *x.shape[-2:], seed=seed, draw=draw, dtype=working_dtype(x.dtype))
        return pull_back(batch, fields, self.interpolation).reshape(x.shape)

    def parameters(
        self, index: torch.Tensor, height: int, width: int, *, seed: int, draw: int | torch.Tensor = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut-off ``(b,)``, int64, and temperature ``(b,)``, float64, of each image; arguments as for ``fields``."""
        size = (height, width)
        u = rng.uniform(2, seed=seed, purpose=f"{PURPOSE} size", index=index, draw=draw).cpu()
        low, high = self.cutoffs
        steps = (_quantile(u[:, 0], self.cutoff_law) * (high + 1 - low)).floor().clamp(max=high - low).long()
        limits = torch.tensor([law.temperature_range(c, size) for c in range(low, high + 1)], dtype=torch.float64)
        coldest, hottest = limits[steps].unbind(1)
        spread = (hottest - coldest).clamp(min=0)
        heat = coldest + _quantile(u[:, 1], self.temperature_law) * spread
        return (low + steps).to(index.device), heat.to(index.device)

    def fields(
        self,
        index: torch.Tensor,
        height: int,
        width: int,
        *,
        seed: int,
        draw: int | torch.Tensor = 0,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """The displacements ``(b, 2, height, width)`` in pixels, as ``Diffeomorphism.fields`` gives them."""
        size = (height, width)
        cutoffs, heat = self.parameters(index, height, width, seed=seed, draw=draw)
        found = coefficients(
            index,
            size,
            temperature=heat,
            cutoff=self.cutoffs[1],
            seed=seed,
            draw=draw,
            purpose=f"{PURPOSE} field",
            dtype=dtype,
        )
        i, j = (torch.arange(1, count + 1, dtype=torch.float64) for count in (found.shape[3], found.shape[2]))
        aspect = width / height
        radii = i.square() / aspect + j.square()[:, None] * aspect
        kept = radii.to(index.device) < (cutoffs + 0.5).square()[:, None, None, None]
        return displacement_fields(found * kept, size)


def _quantile(u: torch.Tensor, beta: tuple[float, float]) -> torch.Tensor:
    """The values of a Beta law, given by s and r, below which it stays with probabilities ``u``."""
    s, r = beta
    return torch.from_numpy(betaincinv(s * r / (r + 1), s / (r + 1), u.numpy()))


def _check_images(x: object) -> None:
    if not isinstance(x, torch.Tensor) or x.dim() not in (3, 4):
        found = f"shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise ArgumentError(
            f"RandomDiffeomorphism: expects one image (C, H, W) or a batch (b, C, H, W), a tensor; got {found}. "
            "In a pipeline, convert to floating-point tensors first."
        )
