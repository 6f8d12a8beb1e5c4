"""Where a study's networks are trained and measured: a sweep for each set, so nothing is done twice."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flexure
from flexure.errors import ArgumentError, RunError, nearest
from flexure.results import Run
from flexure.studies.claims import Study

__all__ = ["Lab"]

_GIVEN = "@"
_LAST = "last.safetensors"  # the weights that a training has led to
_Network = tuple[Mapping[str, Any], Run | str]
"""What was asked for, and what came of it: the run, or why there is none."""


@dataclass(frozen=True)
class Lab:
    """What a study runs with.

    Attributes:
        study: The claims and the networks.
        mode: ``"quick"`` or ``"full"``.
        out: Folder of the study; each set of networks is a sweep in it.
        root: Where data sets lie.
        weights: Files of ready-trained networks, by the name the study gives them.
        workers: Processes at a time.
        say: Told in a sentence what is about to be done.
    """

    study: Study
    mode: str
    out: Path
    root: Path
    weights: Mapping[str, str] = field(default_factory=dict)
    workers: int = 2
    say: Callable[[str], None] = lambda text: None
    _measured: dict[str, list[_Network] | RunError] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        ready = [run for modes in self.study.networks.values() for run in modes.get(self.mode, {}).get("ready", ())]
        known = sorted({run["weights"].removeprefix(_GIVEN) for run in ready})
        for name in self.weights:
            if name not in known:
                raise ArgumentError(f"study: no ready-trained network {name!r}. {nearest(name, known)}")

    def networks(self, name: str, uses: Callable[[Mapping[str, Any]], bool] = lambda fields: True) -> list[Run]:
        """The measured networks of a set; those that lie in the folder already are not trained again.

        Args:
            name: The set.
            uses: Whether the network with these fields is wanted; what became of the others does not matter.

        Raises:
            RunError: Data are missing, or some networks could not be trained or measured.
        """
        if (other := self.study.networks[name][self.mode].get("same")) is not None:
            return self.networks(other, uses)
        if name not in self._measured:
            try:
                self._measured[name] = self._all(name)
            except RunError as wrong:  # not again for each claim
                self._measured[name] = wrong
        known = self._measured[name]
        if isinstance(known, RunError):
            raise known
        found = [run for fields, run in known if uses(fields)]
        if failed := [reason for reason in found if isinstance(reason, str)]:
            raise RunError(f"{name}: {len(failed)} of {len(found)} networks failed; the first: {failed[0]}")
        return [run for run in found if isinstance(run, Run)]

    def _all(self, name: str) -> list[_Network]:
        asked = self.study.networks[name][self.mode]
        base, grid = self._placed(asked["base"]), asked["grid"]
        trained = [
            self._placed({**run, **dict(zip(grid, values, strict=True))})
            for run in asked["runs"]
            for values in itertools.product(*grid.values())
        ]
        if "start" in asked:
            started = {run.spec["seed"]: str(run.folder / _LAST) for run in self.networks(asked["start"]) if run.folder}
            trained = [{**run, "weights": started[run["seed"]]} for run in trained]
        ready = [self._placed(run) for run in asked.get("ready", ()) if self._is_given(name, run)]
        runs = self._swept(name, {"base": base, "runs": trained})
        return runs + (self._swept(f"{name}-ready", {"runs": ready}) if ready else [])

    def _swept(self, name: str, spec: Mapping[str, Any]) -> list[_Network]:
        self.say(f"{name}: {len(spec['runs'])} networks, in {self.out / name}")
        done = flexure.sweep({"name": name, **spec}, out=self.out / name, workers=self.workers, retry=True)
        ended = zip(done.jobs, done.states, strict=True)
        return [(job.fields, done.run(job, state) or state.error or state.status) for job, state in ended]

    def _is_given(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Whether the weights of a ready-trained network are there; says so where they are not."""
        wanted = fields["weights"].removeprefix(_GIVEN)
        if wanted not in self.weights:
            self.say(f"{name}: without {wanted}, whose weights are not given (--weights {wanted}=FILE)")
        return wanted in self.weights

    def _placed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields with data and weights where they lie here."""
        found = {**fields, **(self._data(str(fields["data"])) if "data" in fields else {})}
        if str(weights := found.get("weights", "")).startswith(_GIVEN):
            found["weights"] = self.weights[weights.removeprefix(_GIVEN)]
        return found

    def _data(self, name: str) -> dict[str, str]:
        """A data set: class folders of that name under the root where there are any, else by its name."""
        plain, options = name.partition(":")[0], name.partition(":")[2]
        folder = self.root / plain
        if (folder / "train").is_dir() and (folder / "test").is_dir():
            return {"data": f"folder:{folder}" + (f":{options}" if options else "")}
        return {"data": name, "root": str(self.root)}
