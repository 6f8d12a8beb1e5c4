"""The explicit table of probes: what `examine` can ask, where the answer is computed, what it costs."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from flexure.errors import ArgumentError, nearest

__all__ = ["PROBES", "Probe", "check_probes", "defaults"]

Passes = tuple[int, int]


@dataclass(frozen=True)
class Probe:
    """A line of the table.

    Attributes:
        name: What users type; also the function's name.
        module: Where the function is; imported when it is needed.
        passes: From the probe's options and the number of images to how often the whole set goes through a network: at
            least, at most.
        check: Raises ArgumentError for values of options that the probe would refuse; computes nothing.
        opt_in: Whether it runs only where it is asked for by name.
    """

    name: str
    module: str
    passes: Callable[[Mapping[str, Any], int], Passes]
    check: Callable[[Mapping[str, Any]], None]
    opt_in: bool = False

    def load(self) -> Callable[..., Any]:
        """The probe's function."""
        return getattr(import_module(self.module), self.name)

    @property
    def reads_images(self) -> bool:
        """Whether it needs images; one that reads weights alone can do without."""
        return inspect.signature(self.load()).parameters["data"].default is inspect.Parameter.empty

    def cost(self, options: Mapping[str, Any], images: int) -> Passes:
        """How many passes over so many images these options need: at least, at most."""
        return self.passes({**defaults(self.load()), **options}, images)

    def refuse(self, options: Mapping[str, Any]) -> None:
        """Refuse values that the probe itself would refuse.

        Raises:
            ArgumentError: A value is out of range, or two options exclude each other.
        """
        self.check({**defaults(self.load()), **options})


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function that have a default, by name."""
    found = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in found if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def check_probes(names: Iterable[str]) -> tuple[str, ...]:
    """These names, each once, or those of every probe that runs unasked where there are none.

    Raises:
        ArgumentError: A name is not in the table; the message names the nearest one.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in PROBES:
            raise ArgumentError(f"no probe {name!r}. {nearest(name, PROBES)}")
    return chosen or tuple(name for name, probe in PROBES.items() if not probe.opt_in)


def _sensitivity_passes(options: Mapping[str, Any], images: int) -> Passes:
    """What the settings say for the network and its shuffles, and as often for every initialized network."""
    initialized = options["initialized"]
    return _sensitivity_settings(options).passes(initialized if isinstance(initialized, int) else _count(initialized))


def _check_sensitivity(options: Mapping[str, Any]) -> None:
    _sensitivity_settings(options).transformation()


def _sensitivity_settings(options: Mapping[str, Any]) -> Any:
    from flexure.probes.sensitivity.settings import Settings

    return Settings(**{name: options[name] for name in Settings.__dataclass_fields__})


def _accuracy_passes(options: Mapping[str, Any], images: int) -> Passes:
    """Once as the images are, as often as there are draws for every level of noise."""
    passes = _accuracy_settings(options).passes
    return passes, passes


def _accuracy_settings(options: Mapping[str, Any]) -> Any:
    from flexure.probes.accuracy import AccuracySettings

    return AccuracySettings.of(options["corruption"], draws=options["draws"])


def _check_accuracy(options: Mapping[str, Any]) -> None:
    _accuracy_settings(options)


def _no_passes(options: Mapping[str, Any], images: int) -> Passes:
    """The weights alone are read."""
    return 0, 0


def _check_filters(options: Mapping[str, Any]) -> None:
    from flexure.probes._initialized import check_initialized

    check_initialized("filters", options["initialized"])


def _check_fuzziness(options: Mapping[str, Any]) -> None:
    from flexure.probes.fuzziness.settings import Settings

    Settings.of(options["interval"], options["index"], options["layers"], options["shuffle_draws"])


def _phase_diagram_passes(options: Mapping[str, Any], images: int) -> Passes:
    """Clean once, then two copies per draw at every point."""
    settings = _phase_diagram_settings(options)
    passes = 1 + 2 * settings.draws * settings.n_points
    return passes, passes


def _phase_diagram_settings(options: Mapping[str, Any]) -> Any:
    from flexure.probes.phase_diagram.settings import Settings

    return Settings(**{name: options[name] for name in Settings.__dataclass_fields__})


def _check_phase_diagram(options: Mapping[str, Any]) -> None:
    _phase_diagram_settings(options)


def _elasticity_passes(options: Mapping[str, Any], images: int) -> Passes:
    """Forward and back in the limit; with steps of finite size up to once after every step on an image."""
    return (2, 2) if options["step"] is None else (2, 2 + images)


def _check_elasticity(options: Mapping[str, Any]) -> None:
    from flexure.probes.elasticity.settings import Settings

    Settings(**{name: options[name] for name in Settings.__dataclass_fields__})


def _robustness_passes(options: Mapping[str, Any], images: int) -> Passes:
    """Every step of every climb from every start at every eps, and what the panel needs."""
    return _robustness_settings(options).passes


def _robustness_settings(options: Mapping[str, Any]) -> Any:
    from flexure.probes.robustness.settings import Settings

    return Settings(**{name: options[name] for name in Settings.__dataclass_fields__})


def _check_robustness(options: Mapping[str, Any]) -> None:
    from flexure.ecosystem import toolbox

    if _robustness_settings(options).needs_library:
        toolbox()


def _activation_patterns_passes(options: Mapping[str, Any], images: int) -> Passes:
    """Once, whatever is asked."""
    return 1, 1


def _check_activation_patterns(options: Mapping[str, Any]) -> None:
    from flexure.probes.activation_patterns.probe import Settings

    Settings(**{name: options[name] for name in Settings.__dataclass_fields__})


def _count(modules: Any) -> int:
    return len(modules) if isinstance(modules, list | tuple) else 1


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        probe.name: probe
        for probe in [
            Probe("sensitivity", "flexure.probes.sensitivity", _sensitivity_passes, _check_sensitivity),
            Probe(
                "phase_diagram",
                "flexure.probes.phase_diagram",
                _phase_diagram_passes,
                _check_phase_diagram,
                opt_in=True,
            ),
            Probe(
                "elasticity",
                "flexure.probes.elasticity",
                _elasticity_passes,
                _check_elasticity,
                opt_in=True,
            ),
            Probe(
                "activation_patterns",
                "flexure.probes.activation_patterns",
                _activation_patterns_passes,
                _check_activation_patterns,
                opt_in=True,
            ),
            Probe("filters", "flexure.probes.filters", _no_passes, _check_filters),
            Probe("fuzziness", "flexure.probes.fuzziness", _no_passes, _check_fuzziness),
            Probe("accuracy", "flexure.probes.accuracy", _accuracy_passes, _check_accuracy),
            Probe(
                "robustness",
                "flexure.probes.robustness",
                _robustness_passes,
                _check_robustness,
                opt_in=True,
            ),
        ]
    }
)
