"""Any probe at chosen steps of a training, which never notices."""

import inspect
import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from flexure import distributed
from flexure.bench import weights_hash
from flexure.data import Images, as_images, content_hash
from flexure.errors import ArgumentError, FlexureError, RunError, nearest
from flexure.monitors.moments import Every
from flexure.monitors.watch import Look, Watch
from flexure.monitors.written import file_of, joined, origin_of, place_of, read_steps, step_of, training_of
from flexure.probes import PROBES, check_probes
from flexure.results import Result
from flexure.specimen import Specimen

__all__ = ["Monitor"]

_COMMON = ("seed", "batch_size", "device", "dtype")
_PRIVATE = ("progress", "checkpoint", "checkpoints")  # a monitor makes its own series
_OF_IMAGES = ("sample_", "distance")  # arrays that are the same at every step begin so


class Monitor(Watch):
    """How does the answer of a probe change while a network learns?

    As a callback of our own loop, or in three lines of anyone's::

        monitor = flexure.Monitor("sensitivity", images, every=100, out="runs/mine")
        for step, (x, y) in enumerate(loader, 1):
            ...                                   # the training step
            monitor(step, model)
        flexure.chart(monitor.result())

    The training goes on bit for bit as without it: the network is measured in evaluation mode and put back, with its
    gradients, hooks and batch-norm statistics, and the global random states are left alone. The same images and the
    same disturbances are used at every step, so differences between steps are the network's. A measurement that fails
    is recorded as such, with the reason in its status, and the training goes on.

    Each measurement is a complete result in ``<out>/monitors/<probe>/<step>.parquet`` from the moment it is made, so a
    training that is killed keeps them. Called again for a step that lies there with the same settings and weights, the
    step is not measured again. Sample images and distances are left out: they are the same at every step.

    A folder is for one training. One that goes on behind steps that lie there continues them (in anyone's loop: one
    whose first call is later than step 1); one that starts there with other weights is refused, and one that starts
    with the same weights takes the place of that before.

    Args:
        probe: Name of the probe.
        data: Images to measure on, anything a probe takes; a few hundred will do (``flexure.load(…, limit=256)``). A
            probe of weights alone (``"filters"``) needs none.
        every: A number of steps; ``"epoch"``, ``"2 epochs"``; ``"log"`` for steps 1, 2, 4, 8, …; or the steps
            themselves. Our loop measures the start (step 0) and the end as well; in yours, call ``monitor(0, model)``
            before the first step, and ``monitor.measure(step, model)`` after the last.
        options: The probe's own options, such as ``{"draws": 2}``.
        out: Folder to write to; None: results are kept in memory.
        specimen: How the network is to be used: normalization, bounds, output. Its own model is not touched. None: the
            network takes the images as they are.
        seed: Same seed and images, same disturbances.
        batch_size: Rows of one forward pass, at most.
        device: Where to measure; None: where the network is.
        dtype: Arithmetic; None: the network's own.

    Raises:
        ArgumentError: The probe, an option or ``every`` does not exist or is wrong, or images are missing.
        RunError: ``out`` holds measurements with other settings, of other images, or, at the first one, of another
            training.

    Cost: that of the probe, each time, and a copy of the weights in main memory meanwhile.
    """

    def __init__(
        self,
        probe: str,
        data: Any = None,
        *,
        every: Every = "epoch",
        options: Mapping[str, Any] | None = None,
        out: str | os.PathLike | None = None,
        specimen: Specimen | None = None,
        seed: int = 0,
        batch_size: int = 64,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> None:
        check_probes([probe])
        super().__init__(f"monitor of {probe}", every)
        self.probe, self.out, self.specimen = probe, out, specimen
        self.images = _images(probe, data)
        self.options = dict(options or {})
        _check_options(probe, self.options)
        given = {"seed": seed, "batch_size": batch_size, "device": device, "dtype": dtype}
        known = inspect.signature(PROBES[probe].load()).parameters
        self._common = {name: value for name, value in given.items() if name in known}
        self._origin = self._settings(seed, dtype)
        self._kept: dict[int, Result] = {}
        self._unwritten: set[int] = set()
        self._refuse_others()

    def result(self) -> Result:
        """All steps so far as one table, with ``step`` and ``epoch`` in front of the probe's own columns.

        What another training left in the folder is not in it, nor what lies beyond the last step of this one.

        Raises:
            RunError: Nothing was measured yet, or a file cannot be read.
        """
        shown = [one for step, one in self._known().items() if step <= self._last]
        if self._training is not None:
            shown = [one for one in shown if training_of(one) == self._training]
        if not shown:
            raise RunError(f"monitor of {self.probe}: nothing was measured yet.")
        result = joined(shown)
        notes = [*result.notes, self._unnamed(zip(result["step"], result["epoch"], strict=True))]
        if self._unwritten:
            notes.append(f"{len(self._unwritten)} measurements could not be written to {self.out} and exist only here.")
        return replace(result, notes=tuple(filter(None, notes)))

    def _look(self, step: int, model: nn.Module, epoch: int | None) -> None:
        found = self._completed(step, epoch) if self._has(step, model) else self._measured(step, model, epoch)
        if found is not self._kept.get(step):
            self._keep(step, found)

    def _looks(self) -> dict[int, Look]:
        return {step: Look(training_of(one), _hash_of(one)) for step, one in self._known().items()}

    def _hash(self, model: nn.Module) -> str:
        return weights_hash(self._specimen(model).model)

    def _place(self) -> str | None:
        return None if self.out is None else str(place_of(self.out, self.probe))

    def _finish(self) -> None:
        """Write all steps as one result, ``monitor_<probe>.parquet``."""
        for step in sorted(self._unwritten):
            self._write(step)
        if self.out is not None and not self._unwritten and distributed.is_main():
            self.result().save(self.out)

    def _measured(self, step: int, model: nn.Module, epoch: int | None) -> Result:
        """What the probe says, or why it cannot say it, with the step in front."""
        began = time.perf_counter()
        own = self._specimen(model)
        about: dict[str, Any] = {"step": step, "weights_hash": weights_hash(own.model), "origin": self._origin}
        about |= {"training": self._training, "failed": False}
        function = PROBES[self.probe].load()
        try:
            with distributed.together():
                found = function(own, self.images, **self.options, **self._common)
        except (FlexureError, torch.cuda.OutOfMemoryError) as wrong:
            question = (inspect.getdoc(function) or self.probe).splitlines()[0]
            row = {"layer": "output", "n": 0, "status": f"{type(wrong).__name__}: {wrong}"}
            found = Result(self.probe, question, pd.DataFrame([row]), provenance={"specimen": {"name": own.name}})
            about["failed"] = True
        table = found.to_frame()
        table.insert(0, "step", step)
        table.insert(1, "epoch", math.nan if epoch is None else float(epoch))
        arrays = {name: value for name, value in found.kept.items() if not name.startswith(_OF_IMAGES)}
        about["seconds"] = round(time.perf_counter() - began, 3)
        return replace(found, table=table, arrays=arrays, provenance={**found.provenance, "monitor": about})

    def _specimen(self, model: nn.Module) -> Specimen:
        return Specimen.of(model) if self.specimen is None else replace(self.specimen, model=model)

    def _has(self, step: int, model: nn.Module) -> bool:
        """Whether the step was measured, with these weights; every process says the same."""
        if step not in self._kept and self.out is not None:
            path = place_of(self.out, self.probe) / f"{file_of(step)}.parquet"
            if path.is_file():
                self._kept[step] = Result.load(path)
        one = self._kept.get(step)
        has = one is not None and not one.provenance["monitor"]["failed"] and _hash_of(one) == self._hash(model)
        return distributed.gather(has)[0]

    def _completed(self, step: int, epoch: int | None) -> Result:
        """A measurement that is there, with this training's identity and what is known of its epoch by now."""
        one = self._kept[step]
        table, about = one.to_frame(), {**one.provenance["monitor"], "training": self._training}
        if epoch is not None:
            table["epoch"] = float(epoch)
        if about == one.provenance["monitor"] and table["epoch"].equals(one.table["epoch"]):
            return one
        return replace(one, table=table, provenance={**one.provenance, "monitor": about})

    def _keep(self, step: int, result: Result) -> None:
        self._kept[step] = result
        self._write(step)

    def _write(self, step: int) -> None:
        """Write a step; a disk that is full does not end the training."""
        if self.out is None or not distributed.is_main():
            return
        try:
            self._kept[step].save(place_of(self.out, self.probe), name=file_of(step))
            self._unwritten.discard(step)
        except RunError:
            self._unwritten.add(step)

    def _known(self) -> dict[int, Result]:
        """What was measured, by step."""
        written = [] if self.out is None else read_steps(self.out, self.probe)
        return {step_of(one): one for one in written} | self._kept

    def _settings(self, seed: int, dtype: Any) -> dict[str, Any]:
        """Everything that decides the numbers but the weights, as plain values."""
        one = self.specimen
        used = None if one is None else [one.normalize, one.bounds, str(one.output) if one.output is not None else None]
        about = {
            "probe": self.probe,
            "options": self.options,
            "seed": seed,
            "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
            "specimen": used,
            "data": None if self.images is None else {"n": len(self.images), "hash": content_hash(self.images)},
        }
        return json.loads(json.dumps(about, default=_named))

    def _refuse_others(self) -> None:
        """Do not mix with what was measured in another way."""
        if self.out is None:
            return
        place = place_of(self.out, self.probe)
        path = next(iter(sorted(place.glob("*.parquet"))), None)
        if path is None or (there := origin_of(Result.load(path))) == self._origin:
            return
        differing = [name for name, value in self._origin.items() if there.get(name) != value]
        told = "; ".join(f"{name}: {there.get(name)} there, {self._origin[name]} asked for" for name in differing)
        raise RunError(f"{place}: holds measurements with other settings ({told}). Choose another folder.")


def _images(probe: str, data: Any) -> Images | None:
    if data is None and PROBES[probe].reads_images:
        without = [name for name, one in PROBES.items() if not one.reads_images]
        raise ArgumentError(
            f"monitor of {probe}: it looks at images; give some, Monitor({probe!r}, flexure.load(…, limit=256)). "
            f"Of weights alone: {', '.join(without)}."
        )
    return None if data is None else as_images(data)


def _hash_of(result: Result) -> str:
    """Hash of the weights that were measured."""
    return str(result.provenance["monitor"]["weights_hash"])


def _check_options(probe: str, options: Mapping[str, Any]) -> None:
    """Refuse options that the probe does not have, is given otherwise, or would refuse."""
    parameters = inspect.signature(PROBES[probe].load()).parameters.values()
    valid = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in (*_COMMON, *_PRIVATE)]
    for name in options:
        if name in _COMMON:
            raise ArgumentError(
                f"monitor of {probe}: {name} is the same for all probes; give it as Monitor(…, {name}=…)."
            )
        if name not in valid:
            raise ArgumentError(f"monitor of {probe}: no option {name!r}. {nearest(name, valid)}")
    PROBES[probe].refuse(options)


def _named(value: Any) -> Any:
    """A value that JSON does not know, as text; a network by its class and weights."""
    if isinstance(value, nn.Module):
        return f"{type(value).__name__} {weights_hash(value)}"
    return str(value)
