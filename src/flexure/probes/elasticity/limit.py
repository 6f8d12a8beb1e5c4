"""The answer in the limit of small steps: from strips of the tangent kernel to a table, arrays and what to say."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure import distributed
from flexure.arrays import Arrays, Blocks, Derived, Quotient, Spread
from flexure.probes.elasticity.kernel import KERNEL, OUTPUTS, OWN, OWN_TO, TangentStrips, blocks, carry_out
from flexure.probes.elasticity.measurement import Found, Measurement
from flexure.probes.elasticity.pairs import of_pairs
from flexure.probes.elasticity.plan import Plan, check_free, check_memory, in_words, is_kept_exactly
from flexure.probes.elasticity.sketch import Sketch
from flexure.probes.elasticity.sketched import SKETCH, KernelStrips, SketchStrips, checked_places, measured_error
from flexure.probes.elasticity.storage import Folder, Held
from flexure.probes.elasticity.table import of_kernel
from flexure.results import MEASURED, Progress

__all__ = ["Limit"]

_LINEAR = 0.03  # share of the residual that a recommended step takes away
_SCALE, _SCALE_TO = "sketch_scale", "sketch_scale_to"
_BATCH = 64  # images sketched in a pass, at most


@dataclass(frozen=True, eq=False)
class Limit:
    """The limit of small steps.

    Attributes:
        asked: The network and the images.
        folder: Where a large kernel is kept; None: in memory.
        origin: What the measurement is, of which blocks on disk must be.
        progress: Told after each strip.
    """

    asked: Measurement
    folder: Path | None
    origin: Mapping[str, Any]
    progress: Progress | None

    def found(self) -> Found:
        """The tangent kernel, exact or sketched, and what it says."""
        self._check()
        size = self.asked.settings.sketch
        sketch = None if size is None else self._sketch(size)
        kept, own, own_to = self._exactly() if sketch is None else self._sketched(sketch)
        arrays = self._arrays(kept, own, own_to)
        diagnostics: dict[str, float] = {}
        if sketch is not None:
            arrays = _with_errors(arrays, sketch, own, own_to)
            diagnostics = self._held_against_exact(sketch, arrays)
        whole = own.sum(0)
        table = pd.DataFrame([*self._layers(own, arrays), self.asked.whole(whole, arrays)])
        everything = {**arrays.kept, **self.asked.about(arrays)}
        notes = (*self._said(whole), *self._said_of_sketch(sketch, diagnostics), *self._said_of_size(arrays))
        route = "layerwise" if sketch is None else "sketch"
        return Found(table, everything, arrays.derived, route, notes, diagnostics)

    # What there is to do

    @cached_property
    def _outputs(self) -> list[int]:
        chosen = self.asked.settings.output
        return [chosen] if isinstance(chosen, int) else list(range(self.asked.outputs))

    @cached_property
    def _layer_of(self) -> dict[str, str]:
        return {name: _layer_of(name) for name in self.asked.tangent.parameters}

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        n = len(self.asked.x)
        return n, n if self.asked.to is None else len(self.asked.to)

    @property
    def _is_full(self) -> bool:
        return self.asked.settings.output == "all"

    @cached_property
    def _per_pair(self) -> int:
        """Numbers that are kept for each pair of images."""
        layers = len(set(self._layer_of.values())) if self.asked.settings.per_layer else 0
        return 1 + layers + (len(self._outputs) ** 2 if self._is_full else 0)

    @cached_property
    def _is_exact(self) -> bool:
        """Whether float64 numbers are kept, in memory."""
        n, m = self._sizes
        return self._is_full or is_kept_exactly(n * m * self._per_pair, self.asked.settings.memory_limit)

    @property
    def _is_on_disk(self) -> bool:
        return self.folder is not None and not self._is_exact

    @cached_property
    def _held_bytes(self) -> float:
        """What the matrices take in memory."""
        n, m = self._sizes
        return 0.0 if self._is_on_disk else float(n * m * self._per_pair * (8 if self._is_exact else 4))

    def _check(self) -> None:
        """Refuse what memory cannot hold, before anything is computed."""
        if not self._is_on_disk:
            outputs = len(self._outputs) if self._is_full else None
            check_memory(*self._sizes, self._per_pair, self.asked.settings.memory_limit, outputs)

    def _exactly(self) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None]:
        """The matrices, and what each parameter adds to the kernel of an image with itself."""
        strips = self._strips(self.asked.x, self.asked.to)
        check_free(strips.plan, self._held_bytes, self.asked.settings.memory_limit, self.asked.x.device)
        store = self._store(strips.places, KERNEL, dict.fromkeys(strips.matrices, self._sizes[1]))
        carry_out(strips, store, self.progress)
        return _parted(store.collected())

    def _strips(self, x: torch.Tensor, to: torch.Tensor | None) -> TangentStrips:
        asked, settings = self.asked, self.asked.settings
        n, m = len(x), len(x if to is None else to)
        plan = Plan.of(
            asked.tangent,
            x,
            n,
            m,
            is_own=to is None,
            outputs=len(self._outputs),
            matrices=self._per_pair,
            room=settings.memory_limit - self._held_bytes,
        )
        return TangentStrips(
            asked.tangent, x, to, self._outputs, self._layer_of, settings.per_layer, self._is_full, plan
        )

    def _store(self, places: Sequence[slice], kind: str, columns: Mapping[str, int]) -> Folder | Held:
        """Where the strips of matrices with so many columns go."""
        is_square = kind == KERNEL and self.asked.to is None
        if self.folder is not None and self._is_on_disk:
            identity = self._identity()
            return Folder(self.folder, kind, places, columns, is_square, identity)
        n, pairs = places[-1].stop, (len(self._outputs),) * 2
        shapes = {name: (n, width, *(pairs if name == OUTPUTS else ())) for name, width in columns.items()}
        exact = torch.float64 if self._is_exact else torch.float32
        return Held(places, shapes, is_square, exact if kind == KERNEL else self._wide)

    @property
    def _wide(self) -> torch.dtype:
        return torch.promote_types(self.asked.mounted.dtype, torch.float32)

    def _identity(self) -> dict[str, Any]:
        """What the blocks belong to: everything that decides the numbers."""
        names = ("seed", "specimen", "data", "points", "versions", "device", "dtype", "threads")
        settings = dict(self.origin["settings"])
        return {name: self.origin[name] for name in names} | {"settings": settings}

    # The sketch

    def _sketch(self, size: int) -> Sketch:
        asked = self.asked
        return Sketch.of(asked.tangent, asked.x[:2], self._outputs, size, asked.settings.seed)

    def _sketched(self, sketch: Sketch) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None]:
        """The kernel of sketches, and what each parameter adds to the exact kernel of an image with itself."""
        (n, m), limit = self._sizes, self.asked.settings.memory_limit
        held = self._held_bytes + 12.0 * sketch.size * (n if self.asked.to is None else n + m)
        each = sketch.bytes(self.asked.x[:2])
        batch = int(min(max((limit - held) / each, 1), _BATCH))
        plan = Plan(batch, 0, (), batch * each)
        check_free(plan, held, limit, self.asked.x.device)
        rows = int(min(max((limit - held) / (8 * (m + sketch.size)), 1), n, 1024))
        kernels = self._store(blocks(0, n, rows), KERNEL, {KERNEL: m})
        if isinstance(kernels, Folder) and not distributed.gather(kernels.missing())[0]:
            return _parted(kernels.collected())
        one, own, first = self._images(sketch, self.asked.x, batch, SKETCH)
        two, own_to, second = one, None, None
        if self.asked.to is not None:
            two, own_to, second = self._images(sketch, self.asked.to, batch, f"{SKETCH}_to")
        strips = KernelStrips(one, two, own, own_to, rows)
        carry_out(strips, kernels, None)
        found = _parted(kernels.collected())
        for done in (first, second):
            if isinstance(done, Folder):
                done.discard()
        return found

    def _images(
        self, sketch: Sketch, x: torch.Tensor, batch: int, kind: str
    ) -> tuple[torch.Tensor, torch.Tensor, Folder | Held]:
        """Sketches of images ``(images, k)``, what each parameter adds to K of an image, and where they lie."""
        strips = SketchStrips(sketch, x, batch)
        store = self._store(strips.places, kind, {SKETCH: sketch.size})
        carry_out(strips, store, self.progress)
        found = store.collected()
        rows = found[SKETCH].rows(0, len(x)) if isinstance(found[SKETCH], Blocks) else found[SKETCH]
        one, own = (torch.from_numpy(np.array(part)).to(x.device) for part in (rows, found[OWN]))
        return one, own, store

    def _held_against_exact(self, sketch: Sketch, arrays: Arrays) -> dict[str, float]:
        """How far the sketch is from the exact kernel of a few images."""
        x, to = self.asked.x, self.asked.to
        rows, columns = (checked_places(size) for size in self._sizes)
        strips = self._strips(x[torch.from_numpy(rows)], None if to is None else to[torch.from_numpy(columns)])
        store = Held(strips.places, {KERNEL: (len(rows), len(columns))}, to is None, torch.float64)
        for number in store.missing():
            store.put(number, strips.strip(number))
        sketched, errors = (
            np.stack([arrays.rows(name, row, row + 1)[0][columns] for row in rows]) for name in (KERNEL, "kernel_se")
        )
        return {"sketch": float(sketch.size)} | measured_error(store.here()[KERNEL], sketched, errors)

    # What is said of it

    def _arrays(self, kept: Mapping[str, Any], own: np.ndarray, own_to: np.ndarray | None) -> Arrays:
        """The kernels, and the similarities that are derived from them when they are read."""
        found, derived = dict(kept), dict[str, Derived]()
        for suffix, numbers in self._parts().items():
            matrix = kept[f"{KERNEL}{suffix}"]
            names = f"{OWN}{suffix}", f"{OWN}{suffix}"
            if own_to is None:
                diagonal = matrix.diagonal() if isinstance(matrix, Blocks) else np.diagonal(matrix)
                found[names[0]] = diagonal.astype(np.float64)
            else:
                names = names[0], f"{OWN_TO}{suffix}"
                found |= {names[0]: own[numbers].sum(0), names[1]: own_to[numbers].sum(0)}
            derived[f"relative{suffix}"] = Quotient(f"{KERNEL}{suffix}", names[0], absolute=True)
            derived[f"relative_signed{suffix}"] = Quotient(f"{KERNEL}{suffix}", names[0])
            derived[f"cosine{suffix}"] = Quotient(f"{KERNEL}{suffix}", *names, root=True)
        return Arrays(found, derived)

    def _parts(self) -> dict[str, list[int]]:
        """By the ending of a kernel's name the numbers of its parameters."""
        found = {"": list(range(len(self._layer_of)))}
        if self.asked.settings.per_layer:
            for number, layer in enumerate(self._layer_of.values()):
                found.setdefault(f"/{layer}", []).append(number)
        return found

    def _layers(self, own: np.ndarray, arrays: Arrays) -> Iterator[dict[str, object]]:
        """A row for each layer, in the network's order."""
        modules, whole = dict(self.asked.mounted.model.named_modules()), own.sum(0)
        for layer in dict.fromkeys(self._layer_of.values()):
            names = [name for name in self._layer_of if self._layer_of[name] == layer]
            mine = own[[number for number, name in enumerate(self._layer_of) if name in names]].sum(0)
            has_pairs = self.asked.settings.per_layer and self.asked.to is None
            yield {
                "layer": layer,
                "kind": type(modules.get(layer, self.asked.mounted.model)).__name__,
                "parameters": sum(self.asked.tangent.parameters[name].numel() for name in names),
                **of_kernel(mine, whole),
                **of_pairs(arrays if has_pairs else None, self.asked.classes(), f"/{layer}"),
                "n": int(np.isfinite(mine).sum()),
                "status": MEASURED if mine.any() else "moves no prediction",
            }

    def _said(self, own: np.ndarray) -> Iterator[str]:
        """What the limit wants to be known."""
        for name, function in self.asked.tangent.fallback.items():
            yield f"{name}: gradients computed image by image ({function})."
        bad = self.asked.index.cpu().numpy()[~np.isfinite(own)]
        if len(bad):
            yield f"Gradients at {len(bad)} images are not finite and left out (the first: image {bad[0]})."
        if (still := int((own == 0).sum())) > 0:
            yield f"{still} images have no gradient at all; their similarities are not defined."
        if np.nanmax(own, initial=0) > 0:
            step = _LINEAR / 2 / np.nanmax(own)
            yield f"On squared loss a step of {step:.1e} takes away at most {_LINEAR:.0%} of a residual."

    def _said_of_sketch(self, sketch: Sketch | None, found: Mapping[str, float]) -> Iterator[str]:
        if sketch is None:
            return
        by_factors = f", {len(sketch.outer)} weights by their factors" if sketch.outer else ""
        yield (
            f"The kernel is an estimate from gradients projected to {sketch.size:,} numbers (signed hashing"
            f"{by_factors}): unbiased, with standard errors of at most kernel_se = sqrt((K_ii K_jj + K_ij^2 + "
            "4 (1 + 1/k) O_ii O_jj) / k), O what those weights add. Against the exact kernel of "
            f"{found['sketch_images']:.0f} images it is off by {found['sketch_error']:.2g} of its norm, where that of "
            f"the standard errors is {found['sketch_expected']:.2g}; in a pair by up to {found['sketch_worst']:.1f} of "
            "them."
        )

    def _said_of_size(self, arrays: Arrays) -> Iterator[str]:
        n, m = self._sizes
        if self._is_full:
            yield f"{OUTPUTS} takes {in_words(8.0 * np.prod(arrays.shape(OUTPUTS)))}; kernel is its trace over outputs."
        if not self._is_exact:
            where = "on disk, as blocks of rows" if self._is_on_disk else "in memory"
            yield f"The kernel of {n:,} × {m:,} images is kept in float32, {where}."


def _with_errors(arrays: Arrays, sketch: Sketch, own: np.ndarray, own_to: np.ndarray | None) -> Arrays:
    """With the standard errors of a sketched kernel."""
    scales = {_SCALE: sketch.variance(torch.from_numpy(own.copy())).numpy()}
    if own_to is not None:
        scales[_SCALE_TO] = sketch.variance(torch.from_numpy(own_to.copy())).numpy()
    spread = Spread(KERNEL, _SCALE, _SCALE if own_to is None else _SCALE_TO, sketch.size)
    return Arrays({**arrays.kept, **scales}, {**arrays.derived, "kernel_se": spread})


def _parted(found: Mapping[str, Any]) -> tuple[dict[str, Any], np.ndarray, np.ndarray | None]:
    """The matrices, and the sums over parameters."""
    matrices = {name: matrix for name, matrix in found.items() if name not in (OWN, OWN_TO)}
    return matrices, found[OWN], found.get(OWN_TO)


def _layer_of(parameter: str) -> str:
    """Name of the module that holds a parameter, also where it is computed from others."""
    module = parameter.split(".parametrizations.")[0] if ".parametrizations." in parameter else parameter
    return module.rpartition(".")[0] if module == parameter else module
