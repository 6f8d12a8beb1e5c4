"""Maximum-entropy diffeomorphisms of images: one independent, keyed field per image, and the images they deform."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from flexure import rng
from flexure.errors import ArgumentError, nearest
from flexure.formulas import maximum_entropy as law
from flexure.perturb.interpolation import Grid, check_interpolation, gaussian_smooth, pull_back, working_dtype

__all__ = ["Diffeomorphism", "Folds", "coefficients", "critical_temperatures", "determinants", "displacement_fields"]

PURPOSE = "diffeomorphism"
_FOLDS = ("report", "reject")
_POINTS = 1 << 20  # of determinants held at a time
_PIXELS = 1 << 16  # deformed at a time by one core: their fields stay in its cache


class Folds(NamedTuple):
    """Which fields fold the image over itself.

    Attributes:
        folded: Whether the determinant is 0 or less somewhere ``(b,)``, bool.
        determinant: Smallest determinant of the map's Jacobian ``(b,)``, float64; 1 where nothing is deformed.
        attempts: How many fields were drawn for each image ``(b,)``, int64; 1 unless folds are rejected.
    """

    folded: torch.Tensor
    determinant: torch.Tensor
    attempts: torch.Tensor


@dataclass(frozen=True)
class Diffeomorphism:
    r"""Smooth random deformations of a chosen size, as unstructured as a size and a cut-off allow.

    A pixel s of the deformed image shows what was at :math:`s - f(s)`, where each component of f, in pixels, is a sum
    of sines that vanish on the border, with independent normal coefficients
    (:mod:`flexure.formulas.maximum_entropy`). All channels of an image move together; every image has a field of its
    own, which depends on ``(seed, image index, draw)`` alone. The same coefficients serve every temperature, and those
    of a lower cut-off are among those of a higher one: curves over either differ by the setting, not by luck.

    Attributes:
        displacement: Nominal displacement δ, pixels; the true root mean square is somewhat smaller
            (:func:`~flexure.formulas.maximum_entropy.rms_displacement`).
        temperature: Temperature T instead of a displacement, which must then be left as it is or None.
        cutoff: Cut-off c, a whole number, at least 2; higher: finer and rougher fields.
        interpolation: ``"bilinear"``, ``"gaussian"`` or ``"nearest"``, see
            :func:`~flexure.perturb.interpolation.pull_back`.
        fold: What to do where a field folds the image: ``"report"`` uses it all the same and lets :meth:`folds` tell;
            ``"reject"`` draws again, so that the law becomes the one conditioned on no fold, with a smaller
            displacement than nominal.
        attempts: How often to draw at most, where folds are rejected.
        refine: Points per pixel and axis at which folds are looked for; a fold between them is missed (with 3 and
            32 pixels, none seen at cut-offs 3 and 5, of 100 folded fields about three at cut-off 15).

    Raises:
        ArgumentError: An option is out of range, or both displacement and temperature are given.

    Cost: a field takes two small matrix products, the warp one ``grid_sample``; looking for folds costs about
        ``5 * refine**2`` fields.
    Exact case: temperature 0 gives the images back, bit for bit (Gaussian: smoothed).
    Source: Petrini et al., Relative stability toward diffeomorphisms indicates performance in deep nets (2021). Ours
        are batched, keyed and made for images of any shape; theirs are one field per call.

    >>> deform = Diffeomorphism(displacement=1.0, cutoff=3)
    >>> images = torch.rand(2, 3, 32, 32)
    >>> deform(images, torch.tensor([0, 7]), seed=0).shape
    torch.Size([2, 3, 32, 32])
    >>> round(deform.resolve(32, 32), 6)
    0.001132
    """

    displacement: float | None = 1.0
    temperature: float | None = None
    cutoff: int = 3
    interpolation: str = "bilinear"
    fold: str = "report"
    attempts: int = 100
    refine: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", law.check_cutoff(self.cutoff))
        check_interpolation(self.interpolation)
        if self.fold not in _FOLDS:
            raise ArgumentError(f"Diffeomorphism: no way {self.fold!r} to treat folds. {nearest(self.fold, _FOLDS)}")
        for name in ("attempts", "refine"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"Diffeomorphism: {name} must be 1 or more; got {getattr(self, name)}.")
        if self.temperature is not None and self.displacement == type(self).displacement:
            object.__setattr__(self, "displacement", None)
        given = [amount for amount in (self.displacement, self.temperature) if amount is not None]
        if len(given) != 1:
            raise ArgumentError(
                "Diffeomorphism: give either displacement or temperature; "
                f"got displacement={self.displacement} and temperature={self.temperature}."
            )
        if not 0 <= given[0] < math.inf:
            name = "displacement" if self.temperature is None else "temperature"
            raise ArgumentError(f"Diffeomorphism: {name} must be finite, 0 or more; got {given[0]}.")

    def resolve(self, height: int, width: int) -> float:
        """The temperature used at an image size."""
        if self.displacement is not None:
            return law.temperature(self.displacement, self.cutoff, (height, width))
        return self.temperature or 0.0

    def fields(
        self,
        index: torch.Tensor,
        height: int,
        width: int,
        *,
        seed: int,
        draw: int | torch.Tensor = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> torch.Tensor:
        """Where does each pixel look?

        Args:
            index: Image indices ``(b,)``, int64.
            height: Rows of the images.
            width: Columns of the images.
            seed: The run's seed.
            draw: Number of the draw, one for all or ``(b,)``.
            dtype: Of the fields; half precisions are rounded from float32.
            device: Of the fields; that of ``index`` unless given.

        Returns:
            Displacements ``(b, 2, height, width)``, pixels: first along a row (towards larger columns), then along a
            column. Exactly 0 on the border.

        Raises:
            ArgumentError: The image is too small for the cut-off, or every attempt folded (``fold="reject"``).
        """
        index = index if device is None else index.to(device)
        found, _ = self._draw(index, (height, width), seed, draw, working_dtype(dtype))
        return displacement_fields(found, (height, width)).to(dtype)

    def folds(self, index: torch.Tensor, height: int, width: int, *, seed: int, draw: int | torch.Tensor = 0) -> Folds:
        r"""Which of these fields fold the image over itself?

        A field folds where :math:`\det(I - \nabla f) \le 0`, computed in closed form from the coefficients, at
        ``refine`` points per pixel and axis; arguments as for :meth:`fields`, whose fields it judges. With
        ``fold="reject"`` none folds, and ``attempts`` tells how many were drawn.
        """
        size = (height, width)
        found, attempts = self._draw(index, size, seed, draw, torch.float64)
        smallest = self._smallest_determinant(found, size)
        return Folds(smallest <= 0, smallest, attempts)

    def warp(self, x: torch.Tensor, fields: torch.Tensor) -> torch.Tensor:
        """Images ``(b, C, H, W)`` pulled back along ``fields (b, 2, H, W)``, in pixels."""
        return pull_back(x, fields, self.interpolation)

    def clean(self, x: torch.Tensor) -> torch.Tensor:
        """What a deformed image is to be compared with: ``x`` itself, smoothed if the interpolation smooths."""
        return gaussian_smooth(x) if self.interpolation == "gaussian" else x

    def __call__(
        self, x: torch.Tensor, index: torch.Tensor, *, seed: int, draw: int | torch.Tensor = 0
    ) -> torch.Tensor:
        """Images ``(b, C, H, W)`` deformed, each by the field of its index ``(b,)``; same shape and dtype."""
        height, width = x.shape[-2:]
        if self.resolve(height, width) == 0:
            return self.clean(x).clone()
        found, _ = self._draw(index.to(x.device), (height, width), seed, draw, working_dtype(x.dtype))
        return _deform(x, found, self.interpolation)

    def _draw(
        self, index: torch.Tensor, size: tuple[int, int], seed: int, draw: int | torch.Tensor, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The coefficients used, and how many fields were drawn for each image."""
        attempts = torch.ones_like(index)
        if self.fold == "report":
            return self._attempt(index, size, seed, draw, dtype, 0), attempts
        draws = torch.as_tensor(draw, device=index.device).expand(len(index))
        found = self._attempt(index, size, seed, draws, torch.float64, 0)
        folded = self._smallest_determinant(found, size) <= 0
        for attempt in range(1, self.attempts):
            if not folded.any():
                break
            rows = folded.nonzero().squeeze(1)
            again = self._attempt(index[rows], size, seed, draws[rows], torch.float64, attempt)
            found[rows], attempts[rows] = again, attempt + 1
            folded[rows] = self._smallest_determinant(again, size) <= 0
        self._check_accepted(index[folded], size)
        return found.to(dtype), attempts

    def _attempt(
        self,
        index: torch.Tensor,
        size: tuple[int, int],
        seed: int,
        draw: int | torch.Tensor,
        dtype: torch.dtype,
        attempt: int,
    ) -> torch.Tensor:
        return coefficients(
            index,
            size,
            temperature=self.resolve(*size),
            cutoff=self.cutoff,
            seed=seed,
            draw=draw,
            purpose=f"{PURPOSE} {attempt}" if attempt else PURPOSE,
            dtype=dtype,
        )

    def _smallest_determinant(self, found: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        points = (size[0] - 1) * (size[1] - 1) * self.refine**2
        parts = found.split(max(1, _POINTS // points))
        return torch.cat([determinants(part, size, self.refine).amin((-2, -1)) for part in parts])

    def _check_accepted(self, refused: torch.Tensor, size: tuple[int, int]) -> None:
        if len(refused):
            used, limit = self.resolve(*size), law.temperature_range(self.cutoff, size)[1]
            raise ArgumentError(
                f"Diffeomorphism: image {int(refused[0])} folded in each of {self.attempts} attempts at cutoff "
                f"{self.cutoff} and temperature {used:.3g}, {used / limit:.2g} times the limit T2. Lower the "
                "displacement, raise attempts, or use fold='report'."
            )


def coefficients(
    index: torch.Tensor,
    size: law.Size,
    *,
    temperature: float | torch.Tensor,
    cutoff: int,
    seed: int,
    draw: int | torch.Tensor = 0,
    purpose: str = PURPOSE,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    r"""How much of each wave is in each image's field?

    Args:
        index: Image indices ``(b,)``, int64; the result lies on the same device.
        size: Side of a square image in pixels, or ``(height, width)``.
        temperature: Temperature T, one for all or ``(b,)``.
        cutoff: Cut-off c.
        seed: The run's seed.
        draw: Number of the draw, one for all or ``(b,)``.
        purpose: Under which the random numbers are drawn.
        dtype: float32 or float64.

    Returns:
        Amplitudes :math:`n\,C_{ij}` ``(b, 2, max j, max i)``, pixels: component (along a row, along a column),
        half-waves along a column, half-waves along a row. 0 for the modes beyond the cut-off. Those of a lower cut-off
        at the same temperature are the same numbers.

    Raises:
        ArgumentError: The cut-off is out of range, or the image too small for it.
    """
    height, width = law.check_size(size)
    rows, columns = law.reach(cutoff, (height, width))
    kept = law.modes(cutoff, width / height)
    spread = [height * width / law.squared_radius(mode, width / height) for mode in kept]
    heat = torch.as_tensor(temperature, dtype=torch.float64, device=index.device).reshape(-1, 1, 1)
    scale = (torch.tensor(spread, dtype=torch.float64).to(heat.device)[:, None] * heat).sqrt_().to(dtype)
    z = rng.normal(2 * len(kept), seed=seed, purpose=purpose, index=index, draw=draw, dtype=dtype)
    z = z.view(len(index), len(kept), 2).mul_(scale).transpose(1, 2)
    places = torch.tensor([(j - 1) * columns + i - 1 for i, j in kept], device=index.device)
    out = torch.zeros(len(index), 2, rows * columns, dtype=dtype, device=index.device)
    return out.index_copy_(2, places, z).view(len(index), 2, rows, columns)


def displacement_fields(coefficients: torch.Tensor, size: law.Size) -> torch.Tensor:
    """The displacements that coefficients stand for.

    Args:
        coefficients: Amplitudes ``(b, 2, max j, max i)``, pixels, as :func:`coefficients` gives them.
        size: Side of a square image in pixels, or ``(height, width)``.

    Returns:
        ``(b, 2, H, W)``, pixels, exactly 0 on the border; same dtype and device.

    Cost: two matrix products, of (b·2·max j)×(max i)×W and b·2 times H×(max j)×W.
    """
    with torch.autocast(coefficients.device.type, enabled=False):
        return _synthesize(coefficients, *_waves(coefficients, law.check_size(size)))


def _waves(coefficients: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
    """The waves along a column and along a row that coefficients belong to."""
    pairs = zip(coefficients.shape[-2:], size, strict=True)
    return [law.sines(count, side).to(coefficients) for count, side in pairs]


def _synthesize(coefficients: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    return down.T @ (coefficients @ across)


def _deform(x: torch.Tensor, coefficients: torch.Tensor, interpolation: str) -> torch.Tensor:
    """Images pulled back along the fields of these coefficients; on a CPU, a few at a time."""
    height, width = x.shape[-2:]
    waves = _waves(coefficients, (height, width))
    grid = Grid.of(height, width, coefficients.dtype, x.device)
    some = max(1, _PIXELS // (height * width)) * torch.get_num_threads()
    with torch.autocast(x.device.type, enabled=False):
        if x.device.type != "cpu" or len(x) <= some or (x.requires_grad and torch.is_grad_enabled()):
            return pull_back(x, _synthesize(coefficients, *waves), interpolation, grid=grid)
        out = torch.empty_like(x)
        for part, whole, found in zip(x.split(some), out.split(some), coefficients.split(some), strict=True):
            whole.copy_(pull_back(part, _synthesize(found, *waves), interpolation, grid=grid))
    return out


def determinants(coefficients: torch.Tensor, size: law.Size, refine: int = 1) -> torch.Tensor:
    r"""By how much does each spot of the image shrink or grow?

    .. math:: \det(I - \nabla f) = (1 - \partial_x f_x)(1 - \partial_y f_y) - \partial_y f_x\, \partial_x f_y

    of the map :math:`s \mapsto s - f(s)` that images are pulled back along, in closed form. 0 or less: the image is
    folded over itself there.

    Args:
        coefficients: Amplitudes ``(b, 2, max j, max i)``, pixels, as :func:`coefficients` gives them.
        size: Side of a square image in pixels, or ``(height, width)``.
        refine: Points per pixel and axis.

    Returns:
        ``(b, (H-1)*refine+1, (W-1)*refine+1)``, no unit; same dtype and device.
    """
    along_row, along_column = _gradients(coefficients, law.check_size(size), refine)
    return (1 - along_row[:, 0]) * (1 - along_column[:, 1]) - along_column[:, 0] * along_row[:, 1]


def critical_temperatures(coefficients: torch.Tensor, size: law.Size, refine: int = 3) -> torch.Tensor:
    r"""At which temperature does each field begin to fold the image over?

    The same random numbers at temperature T give :math:`\sqrt{T} f`, with f the field at temperature 1. At a spot,
    :math:`\det(I - \sqrt{T}\, \nabla f) = 1 - \sqrt{T}\, \mathrm{tr} \nabla f + T \det \nabla f` first vanishes at
    :math:`\sqrt{T} = 1/\lambda`, where λ is the larger eigenvalue of :math:`\nabla f` there, if it is real and above 0.
    The largest λ of the image decides: one number per field, which answers for all temperatures.

    Args:
        coefficients: Amplitudes ``(b, 2, max j, max i)`` of the fields at temperature 1, as :func:`coefficients` gives
            them; at another temperature the answer is in units of that.
        size: Side of a square image in pixels, or ``(height, width)``.
        refine: Points per pixel and axis at which folds are looked for.

    Returns:
        Temperatures ``(b,)``, in the dtype of the coefficients; infinite where the field never folds.

    Cost: about ``5 * refine**2`` fields.
    Exact case: ``Diffeomorphism.folds`` finds the fold just above, and none below.
    """
    sides = law.check_size(size)
    points = (sides[0] - 1) * (sides[1] - 1) * refine**2
    parts = [_largest_eigenvalue(*_gradients(c, sides, refine)) for c in coefficients.split(max(1, _POINTS // points))]
    largest = torch.cat([part.amax((-2, -1)) for part in parts]).clamp(min=0)
    return largest.square().reciprocal()


def _gradients(coefficients: torch.Tensor, sides: tuple[int, int], refine: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Slopes of both components ``(b, 2, rows, columns)`` along a row and along a column, pixels per pixel."""
    counts = coefficients.shape[-2:]
    places = [(side - 1) * refine + 1 for side in sides]
    sines = [law.sines(n, p).to(coefficients) for n, p in zip(counts, places, strict=True)]
    slopes = [
        (law.wave_numbers(n, side)[:, None] * law.cosines(n, p)).to(coefficients)
        for n, side, p in zip(counts, sides, places, strict=True)
    ]
    with torch.autocast(coefficients.device.type, enabled=False):
        return sines[0].T @ (coefficients @ slopes[1]), slopes[0].T @ (coefficients @ sines[1])


def _largest_eigenvalue(along_row: torch.Tensor, along_column: torch.Tensor) -> torch.Tensor:
    """The larger eigenvalue of the gradient at each spot, minus infinity where it is not real."""
    (xx, yx), (xy, yy) = along_row.unbind(1), along_column.unbind(1)
    discriminant = (xx - yy).square_().add_(xy.mul(yx), alpha=4)
    return discriminant.sqrt_().nan_to_num_(nan=-math.inf).add_(xx).add_(yy).mul_(0.5)
