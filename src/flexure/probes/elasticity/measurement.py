"""A network on the bench and images; steps of finite size on them, and what must be said about them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch

from flexure.arrays import Arrays, Derived, Quotient
from flexure.bench import Mounted
from flexure.data import Images, usable_batch
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.formulas.similarities import relative
from flexure.losses import Loss, Squared, as_loss
from flexure.probes.elasticity.distances import euclidean
from flexure.probes.elasticity.doubts import Doubts, advised_step
from flexure.probes.elasticity.exact import Moves, OneOutput, by_loop, by_rank_one, cheaper
from flexure.probes.elasticity.kernel import KERNEL, OWN, OWN_TO
from flexure.probes.elasticity.neighbors import neighbors
from flexure.probes.elasticity.pairs import of_pairs
from flexure.probes.elasticity.rank_one import LinearNetwork
from flexure.probes.elasticity.settings import Settings
from flexure.probes.elasticity.steps import Step
from flexure.probes.elasticity.table import of_kernel
from flexure.probes.elasticity.tangent import Pass, Tangent
from flexure.recorder import OUTPUT
from flexure.results import MEASURED, Progress
from flexure.survey import refuse_unsteady

__all__ = ["Found", "Measurement"]

_LOOKED_AT = 8  # images on which it is found out whether they are independent


@dataclass(frozen=True, eq=False)
class Found:
    """What there is to say."""

    table: pd.DataFrame
    arrays: Mapping[str, Any]
    derived: Mapping[str, Derived]
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
        where = self.mounted, moves, self.tangent.parameters, self.x, self.y
        doubts = Doubts.of(*where, points, output, step)
        advised = advised_step(*where, output, step) if doubts.is_noisy else None
        notes = (*self._still(moves), *doubts.notes(self.mounted.dtype, step.size, advised))
        table = pd.DataFrame([self.whole(own, arrays)])
        return Found(table, {**arrays.kept, **self.about(arrays)}, arrays.derived, route, notes, vars(doubts))

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

    def _of_moves(self, moves: Moves) -> tuple[Arrays, np.ndarray]:
        """The similarities that steps show; the kernel only where the loss sees nothing but the output."""
        moved, own, slope = (part.cpu().numpy() for part in (moves.moved, moves.own, moves.slope))
        if self.settings.optimizer is None:
            own = np.where(slope == 0, np.nan, own)
        push = np.full(len(slope), np.nan)
        if self.outputs == 1 or not self._sees_all:
            size = self.settings.step or math.nan
            push = -size * np.where(slope == 0, np.nan, slope)
        with np.errstate(over="ignore", invalid="ignore"):  # of a step so large that predictions overflow
            diagonal = own / push
            kept = {KERNEL: moved / push[:, None], "relative_signed": relative(moved, own), OWN: diagonal}
        if self.to is not None:
            kept |= {OWN_TO: np.full(moved.shape[1], np.nan)}  # nobody stepped on these
        derived = {
            "relative": Quotient("relative_signed", absolute=True),
            "cosine": Quotient(KERNEL, OWN, OWN if self.to is None else OWN_TO, root=True),
        }
        return Arrays(kept, derived), diagonal

    def whole(self, own: np.ndarray, arrays: Arrays) -> dict[str, object]:
        """The row of the whole network.

        Args:
            own: Kernel of each image with itself.
            arrays: The similarities.
        """
        fine = sum(int(np.isfinite(part).any(1).sum()) for _, part in arrays.chunks("relative"))
        return {
            "layer": OUTPUT,
            "kind": OUTPUT,
            "parameters": sum(p.numel() for p in self.tangent.parameters.values()),
            **of_kernel(own, own),
            **of_pairs(arrays if self.to is None else None, self.classes()),
            "n": fine,
            "status": MEASURED if fine else "no image moves its own prediction",
        }

    def classes(self) -> np.ndarray | None:
        """Classes, where every image has one."""
        y = self.y.cpu().numpy()
        return y if (y >= 0).all() else None

    def about(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """What is known of the images whatever the network is, and a few with those most and least like them."""
        plain = {"labels": self.y, "index": self.index}
        if self.to is not None:
            plain |= {"point_labels": self.to_y, "point_index": self.to_index}
        far = euclidean(self.mounted.raw(self.x), self.mounted.raw(self.x if self.to is None else self.to))
        plain |= {} if far is None else {"distance": far}
        return {name: values.cpu().numpy() for name, values in plain.items()} | self._samples(arrays)

    def _samples(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Nothing where they are no pictures of one size."""
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


def _all(images: Images, mounted: Mounted) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """All usable images, normalized, with labels, indices and what must be said."""
    batch = usable_batch(images, range(len(images)), mounted)
    notes = ()
    if batch.skipped:
        index, reason = batch.skipped[0]
        notes = (f"{len(batch.skipped)} of {len(images)} images could not be used (image {index}: {reason}).",)
    return mounted.normalized(batch.x), batch.y, batch.index, notes
