"""Medians over images, which cannot be added up: every image's features are kept, within a stated memory."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from flexure import distributed, rng
from flexure.bench import Mounted
from flexure.data import Images
from flexure.errors import ArgumentError
from flexure.probes.sensitivity.reductions import refuse_gaps
from flexure.probes.sensitivity.settings import Settings
from flexure.recorder import OUTPUT
from flexure.stats import Sensitivities
from flexure.survey import BLOCKS, Op

__all__ = ["MedianReduction"]

_RESAMPLES = 64
_UNNAMED = "name this layer in layers= to measure a median"


class MedianReduction:
    r"""D, G and R with medians over images instead of means.

    ``coordinate_median``: numerator :math:`\sum_a \mathrm{med}_i (f_a(\tau x_i) - f_a(x_i))^2`, as in Petrini's code;
    not invariant under rotations of the features. ``norm_median``: numerator
    :math:`\mathrm{med}_i \|f(\tau x_i) - f(x_i)\|^2`. Denominator of both: the median over pairs of
    :math:`\|f(x_i) - f(x_j)\|^2`. Draws are averaged per image first. An even number of values has the mean of the two
    middle ones as its median. Standard errors: spread over 64 bootstrap samples of the images.

    Memory: the features of every image (three times, for coordinates) of each measured op, which is what the limit
    counts; and in the end the distances of all pairs of images of one op. Does not merge.
    """

    def __init__(self, ops: Sequence[Op], mounted: Mounted, images: Images, settings: Settings) -> None:
        named = settings.layers is not None and settings.layers != BLOCKS
        able = [op for op in ops if op.is_measurable]
        self.ops = able if named else [op for op in able if op.name == OUTPUT]
        self._by_coordinate = settings.reduction == "coordinate_median"
        self._same_pairs, self._seed = settings.same_pairs, settings.seed
        self._eps = torch.finfo(torch.promote_types(mounted.dtype, torch.float32)).eps
        kept = {op.name for op in self.ops}
        self.reasons = {op.name: _UNNAMED if op.is_measurable else op.status for op in ops if op.name not in kept}
        self._refuse_too_much(mounted, len(images), settings)
        self._place = {op.name: place for place, op in enumerate(self.ops)}
        self._clean: list[list[torch.Tensor]] = [[] for _ in self.ops]
        self._changes: list[list[torch.Tensor]] = [[] for _ in self.ops]
        self._index: list[torch.Tensor] = []
        self.begin()

    def begin(self) -> None:
        """Forget what the current chunk has added so far."""
        self._fresh_clean: dict[int, torch.Tensor] = {}
        self._fresh: dict[int, list[torch.Tensor]] = {}

    def emit(self, name: str, value: torch.Tensor, images: int, draws: int) -> None:
        """Keep the clean features and the squared changes of op ``name``."""
        if (place := self._place.get(name)) is None:
            return
        copies = value.reshape(1 + 2 * draws, images, -1)
        copies = copies.to(torch.promote_types(copies.dtype, torch.float32))
        self._fresh_clean.setdefault(place, copies[0].cpu().clone())
        squares = (copies[1:] - copies[:1]).square_()
        squares = squares if self._by_coordinate else squares.sum(2, keepdim=True, dtype=torch.float64)
        self._fresh.setdefault(place, []).append(squares.view(2, draws, images, -1).cpu())

    def commit(self, index: torch.Tensor) -> None:
        """Count the chunk."""
        refuse_gaps(self.ops, self._fresh)
        for place, clean in self._fresh_clean.items():
            self._clean[place].append(clean)
            self._changes[place].append(torch.cat(self._fresh[place], 1).mean(1))
        self._index.append(index.cpu())
        self.begin()

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per op: images that entered, those left out, the first left out."""
        rows = [self._collected(place) for place in range(len(self.ops))]
        bad = [(~keep, index) for _, _, keep, index in rows]
        first = [int(index[mask].min()) if bool(mask.any()) else 0 for mask, index in bad]
        left_out = np.array([int(mask.sum()) for mask, _ in bad])
        return np.array([len(mask) for mask, _ in bad]) - left_out, left_out, np.array(first)

    def estimates(self, *, draws: int, rounds: int, same_pairs: bool) -> Sensitivities:
        """D, G and R with bootstrap errors over all images of all processes."""
        found = [self._estimate(place) for place in range(len(self.ops))]
        columns = np.array(found).reshape(len(found), 6).T
        return Sensitivities(*columns, R_floor=np.full(len(found), np.nan))

    def arrays(self) -> dict[str, np.ndarray]:
        """What was kept so far."""
        state = {"index": torch.cat(self._index).numpy() if self._index else np.zeros(0, np.int64)}
        for place in range(len(self.ops)):
            if self._index:
                state[f"clean.{place}"] = torch.cat(self._clean[place]).numpy()
                state[f"changes.{place}"] = torch.cat(self._changes[place], 1).numpy()
        return state

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`arrays` gave."""
        if not arrays["index"].size:
            return
        self._index = [torch.from_numpy(arrays["index"].copy())]
        for place in range(len(self.ops)):
            self._clean[place] = [torch.from_numpy(arrays[f"clean.{place}"].copy())]
            self._changes[place] = [torch.from_numpy(arrays[f"changes.{place}"].copy())]

    def _refuse_too_much(self, mounted: Mounted, n: int, settings: Settings) -> None:
        copies = 3 if self._by_coordinate else 1
        sizes = {op.name: copies * n * op.features * max(4, mounted.dtype.itemsize) for op in self.ops}
        if (need := sum(sizes.values())) > settings.memory_limit:
            largest = max(sizes, key=lambda name: sizes[name])
            raise ArgumentError(
                f"sensitivity: reduction={settings.reduction!r} keeps every image's features: {need:,} bytes for "
                f"{len(sizes)} layers and {n} images ({largest!r} alone {sizes[largest]:,}), over "
                f"memory_limit={settings.memory_limit:,}. Name fewer or narrower layers=, or raise memory_limit."
            )

    def _collected(self, place: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Clean features, squared changes, which images are finite, their indices; sorted by index, from everywhere."""
        features = self.ops[place].features
        nothing = torch.empty(0, features), torch.empty(2, 0, features if self._by_coordinate else 1)
        own = (
            torch.cat([nothing[0], *self._clean[place]]),
            torch.cat([nothing[1], *self._changes[place]], 1),
            torch.cat([torch.empty(0, dtype=torch.int64), *self._index]),
        )
        parts = distributed.gather(own)
        index, order = torch.cat([part[2] for part in parts]).sort()
        clean = torch.cat([part[0] for part in parts])[order]
        changes = torch.cat([part[1] for part in parts], 1)[:, order]
        return clean, changes, clean.isfinite().all(1) & changes.isfinite().all(2).all(0), index

    def _estimate(self, place: int) -> list[float]:
        clean, changes, keep, _ = self._collected(place)
        clean, changes = clean[keep].double(), changes[:, keep].double().numpy()
        distances = torch.cdist(clean, clean, compute_mode="donot_use_mm_for_euclid_dist").square_().numpy()
        n = len(distances)
        tolerance = (4 * self._eps * self.ops[place].scale) ** 2
        if n < 2 or not distances.max() > tolerance:
            return [float("nan")] * 6
        ratio = self._ratios(distances, changes)
        picks = rng.integers(n, seed=self._seed, purpose="bootstrap", index=torch.arange(_RESAMPLES)).numpy() % n
        with np.errstate(invalid="ignore", divide="ignore"):
            spread = np.std([ratio(pick) for pick in picks], axis=0, ddof=1)
        values = ratio(np.arange(n))
        return [number for pair in zip(values, spread, strict=True) for number in pair]

    def _ratios(self, distances: np.ndarray, changes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """D, G and R of a sample of images."""

        def ratios(pick: np.ndarray) -> np.ndarray:
            pairs = distances[np.ix_(pick, pick)]
            pairs = pairs if self._same_pairs else pairs[~np.eye(len(pick), dtype=bool)]
            with np.errstate(invalid="ignore", divide="ignore"):
                D, G = np.median(changes[:, pick], axis=1).sum(1) / np.median(pairs)
                return np.array([D, G, D / G])

        return ratios
