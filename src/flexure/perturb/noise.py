"""Isotropic noise of a prescribed norm, keyed by image and draw, as large as a deformation or as one pleases."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch

from flexure import rng
from flexure.errors import ArgumentError, nearest
from flexure.stats import squared_norms

__all__ = ["MATCHES", "NOISES", "match_magnitude", "rectified", "sphere"]

PURPOSE = "noise"


def sphere(
    like: torch.Tensor,
    index: torch.Tensor,
    *,
    seed: int,
    draw: int | torch.Tensor = 0,
    magnitude: float | torch.Tensor = 1.0,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    r"""What is noise of a given norm and no preferred direction?

    .. math:: \eta = \sigma\, g / \|g\|, \qquad g \sim N(0, I)

    over all channels and pixels of an image together: uniform on the sphere of radius σ, so that the norm does not
    vary from draw to draw.

    Args:
        like: Images ``(b, ...)``; only their shape, dtype and device are used.
        index: Image indices ``(b,)``, int64, that key the noise together with ``seed`` and ``draw``.
        seed: The run's seed.
        draw: Number of the draw, one for all or ``(b,)``.
        magnitude: Norm σ >= 0 of the noise, one for all or ``(b,)``, in the unit of the images.
        dtype: Of the noise; that of ``like`` unless given. Half precisions are rounded from float32.

    Returns:
        Noise of the shape of ``like``, on its device.

    Raises:
        ArgumentError: ``index`` or ``magnitude`` does not fit the images.

    Cost: one normal number per pixel and channel.
    Exact case: :math:`\|\eta\| = \sigma` for every image, to rounding.
    """
    dtype = like.dtype if dtype is None else dtype
    g = _normals(like, index, seed, draw, dtype)
    scale = _per_image(magnitude, like) / squared_norms(g).sqrt_()
    g *= scale.to(g.dtype)[:, None]
    return g.view(like.shape).to(dtype)


def rectified(
    like: torch.Tensor,
    index: torch.Tensor,
    *,
    seed: int,
    draw: int | torch.Tensor = 0,
    magnitude: float | torch.Tensor = 1.0,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    r"""What is noise that only ever brightens, as a rectifying layer would pass it on?

    .. math:: \eta_j = \max(0, g_j), \qquad g_j \sim N(0, s^2), \qquad s^2 = \sigma^2 / d

    for each of the :math:`d` numbers of an image, with the very normals that :func:`sphere` scales to the norm σ: its
    mean is :math:`s/\sqrt{2\pi}`, not 0, and its mean square half of that of the sphere.

    Args:
        like: As for :func:`sphere`, like all arguments but one.
        index: Image indices.
        seed: The run's seed.
        draw: Number of the draw.
        magnitude: σ >= 0, one for all or ``(b,)``: root mean square norm of the noise before it is rectified.
        dtype: Of the noise.

    Cost: one normal number per pixel and channel.
    Exact case: :math:`\mathrm{E}\|\eta\|^2 = \sigma^2 / 2`.
    Source: the 1-D program of Tomasini et al., How deep convolutional neural networks lose spatial information with
        training (2022), with ``match="batch_rms"``.
    """
    dtype = like.dtype if dtype is None else dtype
    g = _normals(like, index, seed, draw, dtype).clamp_(min=0)
    scale = _per_image(magnitude, like) / max(1, g.shape[1]) ** 0.5
    g *= scale.to(g.dtype)[:, None]
    return g.view(like.shape).to(dtype)


def match_magnitude(
    clean: torch.Tensor, deformed: torch.Tensor, *, match: str = "per_image", sigma: float | None = None
) -> torch.Tensor:
    r"""How large must noise be to change an image as much as its deformation did?

    Args:
        clean: Images ``(b, ...)`` before.
        deformed: The same images after.
        match: ``"per_image"``: :math:`\|\tau x - x\|` of each image. ``"batch_mean"``: its mean over the images given,
            the same for all. ``"batch_rms"``: its root mean square. ``"fixed"``: ``sigma``.
        sigma: Norm of the noise where it is fixed, in the unit of the images; given then and only then.

    Returns:
        Norms ``(b,)``, in the unit of the images, float64.

    Raises:
        ArgumentError: No such way to match, or ``sigma`` is missing, not wanted, negative or not finite.
    """
    if match not in MATCHES:
        raise ArgumentError(f"noise: no way {match!r} to match its norm. {nearest(match, MATCHES)}")
    if (match == "fixed") != (sigma is not None):
        raise ArgumentError(f"noise: sigma goes with match='fixed' alone; got match={match!r} and sigma={sigma}.")
    if sigma is not None:
        return _per_image(sigma, clean)
    dtype = torch.promote_types(clean.dtype, torch.float32)
    return MATCHES[match](squared_norms((deformed.to(dtype) - clean.to(dtype)).flatten(1)).sqrt_())


def _normals(
    like: torch.Tensor, index: torch.Tensor, seed: int, draw: int | torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Standard normals ``(b, d)`` for these images, in ``dtype``, at least in float32."""
    if len(index) != len(like):
        raise ArgumentError(f"noise: {len(like)} images need as many indices; got {len(index)}.")
    working = torch.promote_types(dtype, torch.float32)
    count = like[0].numel() if len(like) else 0
    return rng.normal(count, seed=seed, purpose=PURPOSE, index=index.to(like.device), draw=draw, dtype=working)


def _per_image(magnitude: float | torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if not isinstance(magnitude, torch.Tensor):
        if not 0 <= magnitude < float("inf"):
            raise ArgumentError(f"noise: its norm must be finite, 0 or more; got {magnitude}.")
        magnitude = torch.tensor(magnitude, dtype=torch.float64)
    if magnitude.dim() > 1 or magnitude.numel() not in (1, len(like)):
        raise ArgumentError(
            f"noise: one norm, or one for each of {len(like)} images; got shape {tuple(magnitude.shape)}."
        )
    return magnitude.to(like.device, torch.float64).expand(len(like))


def _same(norms: torch.Tensor) -> torch.Tensor:
    return norms


def _mean(norms: torch.Tensor) -> torch.Tensor:
    return norms.mean().expand(len(norms))


def _rms(norms: torch.Tensor) -> torch.Tensor:
    return norms.square().mean().sqrt().expand(len(norms))


MATCHES: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"per_image": _same, "batch_mean": _mean, "batch_rms": _rms, "fixed": _same}
)
"""Ways to choose the norm of the noise, from the norms of the images' deformations."""
NOISES: Mapping[str, Callable[..., torch.Tensor]] = MappingProxyType({"sphere": sphere, "rectified": rectified})
"""Laws of the noise, by the name of the function that draws it."""
