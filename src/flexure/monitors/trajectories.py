"""The path of each weight while a network learns, and where it ends in its own interval."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from flexure import distributed
from flexure.bench import mount, weights_hash
from flexure.errors import ArgumentError, RunError
from flexure.formulas.fuzziness import Index, as_index
from flexure.monitors.ended import ended
from flexure.monitors.moments import Every
from flexure.monitors.paths import Paths, Point
from flexure.monitors.watch import Look, Watch
from flexure.monitors.written import FOLDER
from flexure.results import Result
from flexure.specimen import Specimen
from flexure.weights import LayerWeight, convolutions, every_weight, select

__all__ = ["Trajectories", "read_paths"]


class Trajectories(Watch):
    r"""Do weights end near an end of their own path, more than random walks would?

    Of every weight the smallest and the largest value that it has had are kept exactly, :math:`a = \min_t w(t)` and
    :math:`b = \max_t w(t)` over the moments that are looked at; of a sample of weights the whole path. At the end each
    weight has the place :math:`\mu = (w - a)/(b - a)` in its own interval. Beside each number stands that of walks
    without drift, whose steps are as large as the layer's were (:func:`flexure.formulas.random_walk.end_places`): to
    end near an end of one's own path is common by chance.

    The training goes on bit for bit as without it. With ``out`` everything is in one file from each look on,
    ``<out>/monitors/trajectories.safetensors``, which is replaced as a whole, so that a training that is killed and
    goes on keeps its paths. A folder is for one training, as of :class:`Monitor`.

    Args:
        every: A number of steps; ``"epoch"``, ``"2 epochs"``; ``"log"`` for steps 1, 2, 4, 8, …; or the steps
            themselves. The start and the end are looked at as well. Extremes between two looks are not seen.
        layers: Names or kinds of layers whose weights are followed, ``"*"`` for all; None: the convolutions.
        sample: Weights of each layer whose whole path is kept; the same ones for the same seed.
        index: Of fuzziness, a name in :data:`flexure.formulas.fuzziness.INDICES`, with options beneath it.
        walks: Random walks for each layer, at least 2.
        out: Folder to write to; None: all is kept in memory.
        seed: Decides the sample and the walks.

    Raises:
        ArgumentError: A number is out of range or a name unknown; at the first look: a pattern matches no layer.
        RunError: ``out`` holds the paths of another training, or of other weights.

    Cost: each time a copy of the weights that are followed, of which three are kept in main memory (and, with ``out``,
        written); at the end ``walks`` times as many random numbers as there were moments.

    Exact case: a weight that only ever grows ends at an end, with fuzziness 0 and distance 1.
    """

    def __init__(
        self,
        *,
        every: Every = "epoch",
        layers: str | Sequence[str] | None = None,
        sample: int = 32,
        index: str | Mapping[str, Any] | Index = "de_luca_termini",
        walks: int = 4000,
        out: str | os.PathLike | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__("monitor of trajectories", every)
        for name, value, least in (("sample", sample, 0), ("walks", walks, 2)):
            if not isinstance(value, int) or value < least:
                raise ArgumentError(f"Trajectories: {name} must be a whole number of at least {least}; got {value!r}.")
        self.layers, self.sample, self.seed = layers, sample, seed
        self.path = None if out is None else Path(out) / FOLDER / "trajectories.safetensors"
        self.out = out
        named = layers if layers is None or isinstance(layers, str) else list(layers)
        self._origin = {"layers": named, "sample": sample, "seed": seed}
        self._reading = {"index": _written(as_index(index)), "walks": walks, "seed": seed}
        self._paths = self._earlier()
        self._is_unwritten = False

    def result(self) -> Result:
        r"""Where the weights are now in the intervals of their paths.

        Returns:
            One row per layer: ``near_end``, the share of weights within a tenth of their interval from an end of it;
            ``center_distance``, the mean of :math:`|2\mu-1|`; ``fuzziness`` in [0, 1]; each with its error ``X_se``
            (**weights taken as independent**) and with the number of random walks, ``X_null``, whose error
            ``X_null_se`` is over walks. ``moved`` is the share of weights that have moved at all, the others have no
            interval and are left out; ``points`` counts the looks, ``n`` the weights.
            Arrays: ``path (sampled, points)``, with ``path_layer`` (its row in the table) and ``path_weight`` (its
            place in the flattened weight) of each, and ``step`` and ``epoch`` of each point.

        Raises:
            RunError: Nothing was looked at yet.
        """
        if self._paths is None or not self._paths.points:
            raise RunError("monitor of trajectories: nothing was measured yet.")
        found = ended(self._paths, self._last)
        told = self._unnamed(zip(found.arrays.get("step", ()), found.arrays.get("epoch", ()), strict=True))
        lost = f"The paths could not be written to {self.path} and exist only here." if self._is_unwritten else ""
        return Result(
            found.probe, found.question, found.table, found.arrays, found.units, found.provenance,
            tuple(filter(None, [*found.notes, told, lost])),
        )  # fmt: skip

    def intervals(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """The smallest and the largest value that each weight has had, by layer, in the weight's shape."""
        layers = [] if self._paths is None else self._paths.layers
        return {layer.name: (layer.low.clone(), layer.high.clone()) for layer in layers}

    def _look(self, step: int, model: nn.Module, epoch: int | None) -> None:
        specimen = Specimen.of(model)
        point = Point(step, None if epoch is None else float(epoch), weights_hash(specimen.model))
        with mount(specimen) as mounted:
            found = self._chosen(mounted.model)
            if self._paths is None or self._paths.training != self._training:
                self._paths = Paths(str(self._training), self._origin, self._reading, specimen.name)
                self._paths.begin(found, sample=self.sample, seed=self.seed)
                self._paths.points.append(point)
            elif not self._paths.take(point, found):
                return
        self._write()

    def _chosen(self, model: nn.Module) -> list[LayerWeight]:
        if self.layers is None:
            return convolutions(model)
        return select(every_weight(model), self.layers, "Trajectories", "weight")

    def _looks(self) -> dict[int, Look]:
        if self._paths is None:
            return {}
        return {point.step: Look(self._paths.training, point.weights_hash) for point in self._paths.points}

    def _hash(self, model: nn.Module) -> str:
        return weights_hash(Specimen.of(model).model)

    def _place(self) -> str | None:
        return None if self.path is None else str(self.path)

    def _finish(self) -> None:
        """Write the result, ``monitor_trajectories.parquet``."""
        self._write()
        if self.out is not None and not self._is_unwritten and distributed.is_main():
            self.result().save(self.out)

    def _write(self) -> None:
        """Write the paths; a disk that is full does not end the training."""
        if self.path is None or self._paths is None or not distributed.is_main():
            return
        try:
            self._paths.save(self.path)
            self._is_unwritten = False
        except RunError:
            self._is_unwritten = True

    def _earlier(self) -> Paths | None:
        """What lies in the folder."""
        if self.path is None or not self.path.is_file():
            return None
        found = Paths.load(self.path)
        if found.origin != json.loads(json.dumps(self._origin)):
            differing = [name for name, value in self._origin.items() if found.origin.get(name) != value]
            told = "; ".join(
                f"{key}: {found.origin.get(key)} there, {self._origin[key]} asked for" for key in differing
            )
            raise RunError(f"{self.path}: holds the paths of other weights ({told}). Choose another folder.")
        found.reading = self._reading
        return found


def read_paths(folder: str | os.PathLike) -> Result:
    """The result of the paths that lie in a folder.

    Raises:
        RunError: There are none, or the file cannot be read.
    """
    path = Path(folder) / FOLDER / "trajectories.safetensors"
    if not path.is_file():
        raise RunError(f"{path}: no such file. Is it the folder that Trajectories(out=…) was given?")
    found = Paths.load(path)
    return ended(found, found.steps[-1])


def _written(index: Index) -> Any:
    """An index as files write it."""
    options = dict(vars(index))
    name = str(index).partition("(")[0]
    return {name: options} if options else name
