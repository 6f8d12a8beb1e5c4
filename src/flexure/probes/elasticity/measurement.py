"""From a network on the bench and images to kernels, similarities and what must be said about them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from flexure.bench import Mounted
from flexure.data import Images, usable_batch
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.formulas.similarities import cosine, relative
from flexure.losses import Loss, Squared, as_loss
from flexure.probes.elasticity.distances import euclidean
from flexure.probes.elasticity.doubts import Doubts
from flexure.probes.elasticity.exact import Moves, OneOutput, by_loop, by_rank_one, cheaper
from flexure.probes.elasticity.limit import Kernel
from flexure.probes.elasticity.neighbors import neighbors
from flexure.probes.elasticity.rank_one import LinearNetwork
from flexure.probes.elasticity.settings import Settings
from flexure.probes.elasticity.steps import Step
from flexure.probes.elasticity.table import of_kernel, of_pairs
from flexure.probes.elasticity.tangent import Pass, Tangent
from flexure.recorder import OUTPUT
from flexure.results import MEASURED, Progress
from flexure.survey import refuse_unsteady

__all__ = ["Found", "Measurement"]

_FEW = 4  # images on which the memory of a block is measured
_LOOKED_AT = 8  # images on which it is found out whether they are independent
_LINEAR = 0.03  # share of the residual that a recommended step takes away


@dataclass(frozen=True, eq=False)
class Found:
    """What there is to say."""

    table: pd.DataFrame
    arrays: Mapping[str, np.ndarray]
    route: str
    notes: tuple[str, ...] = ()
    diagnostics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Measurement:
    """The network on the bench, and the images.

    Attributes:
        mounted: The network.
        settings: Options.
        tangent: Its gradients.
        x, y, index: Normalized images to step on, labels, indices in the full set.
        to: Normalized images that are watched, where they are others.
        to_y, to_index: Labels and indices of those that are watched.
        outputs: Outputs of the network.
        notes: Images that could not be used.
    """

    mounted: Mounted
    settings: Settings
    tangent: Tangent
    x: torch.Tensor
    y: torch.Tensor
    index: torch.Tensor
    to: torch.Tensor | None
    to_y: torch.Tensor
    to_index: torch.Tensor
    outputs: int
    notes: tuple[str, ...]

    @classmethod
    def of(cls, mounted: Mounted, images: Images, others: Images | None, settings: Settings) -> "Measurement":
        """Everything that is needed, or an error."""
        x, y, index, notes = _all(images, mounted)
        if len(x) < 2:
            raise DataError(f"{images.name}: {len(x)} usable images; an image needs at least one other to move.")
        to, to_y, to_index, more = None, y, index, ()
        if others is not None:
            to, to_y, to_index, more = _all(others, mounted)
            if not len(to):
                raise DataError(f"{others.name}: none of the points can be watched. {' '.join(more)}")
            mounted.forward(to[:1])
        refuse_unsteady(mounted, x[:_LOOKED_AT])
        outputs = mounted.forward(x[:2]).flatten(1).shape[1]
        if isinstance(settings.output, int) and not 0 <= settings.output < outputs:
            raise SpecimenError(
                f"{mounted.specimen.name}: no output {settings.output}; it has {outputs}, numbered from 0."
            )
        return cls(mounted, settings, Tangent.of(mounted, x), x, y, index, to, to_y, to_index, outputs, (*notes, *more))

    def limit(self, progress: Progress | None) -> Found:
        """The tangent kernel."""
        chosen = self.settings.output
        outputs = [chosen] if isinstance(chosen, int) else list(range(self.outputs))
        layers = {name: _layer_of(name) for name in self.tangent.parameters}
        groups = layers if self.settings.per_layer else dict.fromkeys(layers, "")
        rows = self._rows(len(outputs))
        kernel = Kernel.between(
            self.tangent, self.x, self.to, outputs=outputs, groups=groups, rows=rows, progress=progress
        )
        parts = {name: matrix.cpu().numpy() for name, matrix in kernel.matrices.items()}
        whole = np.sum(list(parts.values()), axis=0)
        own = {name: values.cpu().numpy() for name, values in kernel.own.items()}
        own_to = {name: values.cpu().numpy() for name, values in kernel.own_to.items()}
        arrays = self._arrays(whole, _summed(own), _summed(own_to) if own_to else None)
        similar = {"": arrays}
        if self.settings.per_layer:
            for layer, part in parts.items():
                names = [name for name in layers if layers[name] == layer]
                mine, theirs = (
                    _summed({name: each[name] for name in names}) if each else None for each in (own, own_to)
                )
                similar[layer] = self._arrays(part, mine, theirs)
                arrays |= {f"kernel/{layer}": part}
        table = pd.DataFrame([*self._layers(layers, own, similar), self._whole(_summed(own), arrays)])
        return Found(
            table, arrays | self._about() | self._samples(arrays), "layerwise", tuple(self._said(_summed(own)))
        )

    def exact(self, progress: Progress | None) -> Found:
        """Steps of finite size."""
        output = self._one_output()
        self._check_labels()
        asked = self.settings
        step = Step(self._loss(output), float(asked.step or 0), asked.steps, asked.optimizer, asked.sequential)
        route, network = self._route()
        what = self.x, self.y, self.to, output, step
        if route == "rank_one" and network is not None:
            moves = by_rank_one(network, self.tangent, *what, progress=progress)
        else:
            about = {"batch_size": asked.batch_size, "progress": progress}
            moves = by_loop(self.mounted, self.tangent.parameters, *what, **about)
        arrays, own = self._of_moves(moves)
        points = self.x if self.to is None else self.to
        doubts = Doubts.of(self.mounted, moves, self.tangent.parameters, self.x, self.y, points, output, step)
        notes = (*self._still(moves), *doubts.notes(self.mounted.dtype))
        table = pd.DataFrame([self._whole(own, arrays)])
        return Found(table, arrays | self._about() | self._samples(arrays), route, notes, vars(doubts))

    def _one_output(self) -> int:
        """The output that finite steps watch."""
        if self.settings.output is None and self.outputs > 1:
            raise ArgumentError(
                f"elasticity: the network has {self.outputs} outputs, and a finite step compares one prediction: give "
                "output=3, say; or step=None for the limit, where the trace over all outputs is meant."
            )
        return int(self.settings.output or 0)

    def _loss(self, output: int) -> Loss:
        loss = as_loss(self.settings.loss)
        return loss if self.outputs == 1 or self._sees_all else OneOutput(loss, output)

    @property
    def _sees_all(self) -> bool:
        """Whether the loss is of all outputs together."""
        loss = as_loss(self.settings.loss)
        return not (isinstance(loss, Squared) or getattr(loss, "outputs", None) == 1)

    def _check_labels(self) -> None:
        least, most = int(self.y.min()), int(self.y.max())
        is_number = self.outputs == 1 and isinstance(as_loss(self.settings.loss), Squared)  # any whole number will do
        classes = most + 1 if is_number else max(self.outputs, 2)
        if least < 0 or most >= classes:
            bad = int(self.index[(self.y < 0) | (self.y >= classes)][0])
            what = "no label" if least < 0 else f"label {most}"
            needed = "whole numbers as labels" if is_number else f"labels 0 to {classes - 1}"
            raise DataError(f"image {bad}: {what}; a step needs {needed}. The limit (step=None) needs none.")

    def _route(self) -> tuple[str, LinearNetwork | None]:
        """How finite steps are computed."""
        asked, settings = self.settings.route, self.settings
        if asked == "loop" or settings.steps > 1 or settings.sequential or settings.optimizer is not None:
            return "loop", None
        network = self._linear_network() if not self.tangent.fallback else None
        if asked == "rank_one" and network is None:
            raise ArgumentError(
                f"elasticity: route='rank_one' needs linear layers and elementwise functions alone; "
                f"{self.mounted.specimen.name} has others. Use route='auto'."
            )
        n, m = len(self.x), len(self.x if self.to is None else self.to)
        return asked if asked != "auto" else cheaper(network, n, m), network

    def _linear_network(self) -> LinearNetwork | None:
        """The network as a graph of linear layers, where it is one and the graph says what the network says."""
        network, few = LinearNetwork.of(self.mounted.model), self.x[:2]
        uses = Pass.of(self.tangent, few).uses
        if network is None or self.mounted.specimen.output is not None or any(u.call["input"].ndim != 2 for u in uses):
            return None
        one, two = network.pushed(few, {})[0], self.mounted.forward(few)
        return network if one.shape == two.shape and torch.allclose(one, two, rtol=1e-3, atol=1e-6) else None

    def _rows(self, outputs: int) -> int:
        """Images in a block of the limit, so that the gradients of two blocks fit into the memory that may be used."""
        few = self.x[:_FEW]
        each = self.tangent.bytes(few) / len(few) * outputs
        rows = int(self.settings.memory_limit / (2 * each))
        if rows < 1:
            raise ArgumentError(
                f"elasticity: memory_limit={self.settings.memory_limit:g} bytes hold no gradients of two images, which "
                f"take {2 * each:.3g}; give at least that much."
            )
        return min(rows, max(len(self.x), 1))

    def _arrays(self, kernel: np.ndarray, own: np.ndarray | None, own_to: np.ndarray | None) -> dict[str, np.ndarray]:
        """A kernel and what it makes of similarities."""
        own = np.diagonal(kernel) if own is None or own_to is None else own
        signed = relative(kernel, own)
        alike = cosine(kernel, own, own if own_to is None else own_to)
        return {"kernel": kernel, "relative": np.abs(signed), "relative_signed": signed, "cosine": alike}

    def _of_moves(self, moves: Moves) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The similarities that steps show; the kernel only where the loss sees nothing but the output."""
        moved, own, slope = (part.cpu().numpy() for part in (moves.moved, moves.own, moves.slope))
        if self.settings.optimizer is None:
            own = np.where(slope == 0, np.nan, own)
        signed = relative(moved, own)
        arrays = {"relative": np.abs(signed), "relative_signed": signed}
        push = np.full(len(slope), np.nan)
        if self.outputs == 1 or not self._sees_all:
            size = self.settings.step or math.nan
            push = -size * np.where(slope == 0, np.nan, slope)
        kernel = moved / push[:, None]
        diagonal = own / push
        own_to = diagonal if self.to is None else np.full(moved.shape[1], np.nan)
        return {"kernel": kernel, **arrays, "cosine": cosine(kernel, diagonal, own_to)}, diagonal

    def _layers(
        self,
        layers: Mapping[str, str],
        own: Mapping[str, np.ndarray],
        similar: Mapping[str, Mapping[str, np.ndarray]],
    ) -> Iterator[dict[str, object]]:
        """A row for each layer, in the network's order."""
        modules, whole = dict(self.mounted.model.named_modules()), _summed(own)
        for layer in dict.fromkeys(layers.values()):
            names = [name for name in layers if layers[name] == layer]
            count = sum(self.tangent.parameters[name].numel() for name in names)
            mine = _summed({name: own[name] for name in names})
            kind = type(modules.get(layer, self.mounted.model)).__name__
            yield {
                "layer": layer,
                "kind": kind,
                "parameters": count,
                **of_kernel(mine, whole),
                **of_pairs(similar.get(layer) if self.to is None else None, self._labels()),
                "n": int(np.isfinite(mine).sum()),
                "status": MEASURED if mine.any() else "moves no prediction",
            }

    def _whole(self, own: np.ndarray, arrays: Mapping[str, np.ndarray]) -> dict[str, object]:
        """The row of the whole network."""
        count = sum(p.numel() for p in self.tangent.parameters.values())
        fine = np.isfinite(arrays["relative"]).any(1)
        return {
            "layer": OUTPUT,
            "kind": OUTPUT,
            "parameters": count,
            **of_kernel(own, own),
            **of_pairs(arrays if self.to is None else None, self._labels()),
            "n": int(fine.sum()),
            "status": MEASURED if fine.any() else "no image moves its own prediction",
        }

    def _labels(self) -> np.ndarray | None:
        """Classes, where every image has one."""
        y = self.y.cpu().numpy()
        return y if (y >= 0).all() else None

    def _about(self) -> dict[str, np.ndarray]:
        """What is known of the images whatever the network is."""
        plain = {"labels": self.y, "index": self.index}
        if self.to is not None:
            plain |= {"point_labels": self.to_y, "point_index": self.to_index}
        far = euclidean(self.mounted.raw(self.x), self.mounted.raw(self.x if self.to is None else self.to))
        plain |= {} if far is None else {"distance": far}
        return {name: values.cpu().numpy() for name, values in plain.items()}

    def _samples(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """A few images with those most and least like them; nothing where they are no pictures of one size."""
        watched = self.x if self.to is None else self.to
        if self.x.ndim != 4 or min(self.x.shape[-2:]) < 2 or watched.shape[1:] != self.x.shape[1:]:
            return {}
        places = torch.from_numpy(neighbors(arrays, self.y.cpu().numpy(), self.to is None)).to(self.x.device)
        if not len(places):
            return {}
        own, others = places[:, :1], places[:, 1:]
        images = torch.cat([self.x[own], watched[others]], 1)
        indices = torch.cat([self.index.to(own)[own], self.to_index.to(own)[others]], 1)
        raw = self.mounted.raw(images.flatten(0, 1)).unflatten(0, tuple(places.shape)).float()
        plain = {"image": raw, "place": places, "index": indices}
        return {f"sample_{name}": values.cpu().numpy() for name, values in plain.items()}

    def _said(self, own: np.ndarray) -> Iterator[str]:
        """What the limit wants to be known."""
        for name, function in self.tangent.fallback.items():
            yield f"{name}: gradients computed image by image ({function})."
        bad = self.index.cpu().numpy()[~np.isfinite(own)]
        if len(bad):
            yield f"Gradients at {len(bad)} images are not finite and left out (the first: image {bad[0]})."
        if (still := int((own == 0).sum())) > 0:
            yield f"{still} images have no gradient at all; their similarities are not defined."
        if np.nanmax(own, initial=0) > 0:
            step = _LINEAR / 2 / np.nanmax(own)
            yield f"On squared loss a step of {step:.1e} takes away at most {_LINEAR:.0%} of a residual."

    def _still(self, moves: Moves) -> Iterator[str]:
        """Images on which there is nothing to step, and what is missing for the kernel."""
        if self.outputs > 1 and self._sees_all:
            yield "The loss sees all outputs, so there is no kernel of one alone: only relative similarities."
        if self.settings.optimizer is not None:
            return
        bad = (~moves.own.isfinite()).cpu().numpy()
        if bad.any():
            yield f"Steps on {bad.sum()} images are not finite (the first: image {self.index.cpu().numpy()[bad][0]})."
        still = (moves.slope == 0).cpu().numpy()
        if still.any():
            first = int(self.index.cpu().numpy()[still][0])
            yield f"zero residual at {still.sum()} images (the first: image {first}): no step there; the limit answers."


def _summed(own: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.sum(list(own.values()), axis=0)


def _layer_of(parameter: str) -> str:
    """Name of the module that holds a parameter, also where it is computed from others."""
    module = parameter.split(".parametrizations.")[0] if ".parametrizations." in parameter else parameter
    return module.rpartition(".")[0] if module == parameter else module


def _all(images: Images, mounted: Mounted) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """All usable images, normalized, with labels, indices and what must be said."""
    batch = usable_batch(images, range(len(images)), mounted)
    notes = ()
    if batch.skipped:
        index, reason = batch.skipped[0]
        notes = (f"{len(batch.skipped)} of {len(images)} images could not be used (image {index}: {reason}).",)
    return mounted.normalized(batch.x), batch.y, batch.index, notes
