"""Flexure: a test bench for trained neural networks. Every name here is loaded on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flexure.analysis.cluster import cluster
    from flexure.analysis.compare import compare
    from flexure.charts import chart
    from flexure.data import load
    from flexure.errors import (
        ArgumentError,
        DataError,
        FlexureError,
        MissingPackageError,
        RunError,
        SpecimenError,
    )
    from flexure.fleet import sweep
    from flexure.models import linear_twin, resolve
    from flexure.monitors import Monitor
    from flexure.page import report
    from flexure.perturb.diffeomorphism import Diffeomorphism
    from flexure.probes.accuracy import accuracy
    from flexure.probes.activation_patterns import activation_patterns
    from flexure.probes.elasticity import elasticity
    from flexure.probes.filters import filters
    from flexure.probes.fuzziness import fuzziness
    from flexure.probes.layers import layers
    from flexure.probes.phase_diagram import phase_diagram
    from flexure.probes.robustness import robustness
    from flexure.probes.sensitivity import sensitivity
    from flexure.results import Result, Run, read
    from flexure.runs.examine import examine
    from flexure.runs.train import train
    from flexure.specimen import Specimen
    from flexure.studies import study

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "DataError",
    "Diffeomorphism",
    "FlexureError",
    "MissingPackageError",
    "Monitor",
    "Result",
    "Run",
    "RunError",
    "Specimen",
    "SpecimenError",
    "accuracy",
    "activation_patterns",
    "chart",
    "cluster",
    "compare",
    "elasticity",
    "examine",
    "filters",
    "fuzziness",
    "layers",
    "linear_twin",
    "load",
    "phase_diagram",
    "read",
    "report",
    "resolve",
    "robustness",
    "sensitivity",
    "study",
    "sweep",
    "train",
]

_WHERE = {
    "ArgumentError": "flexure.errors",
    "DataError": "flexure.errors",
    "Diffeomorphism": "flexure.perturb.diffeomorphism",
    "FlexureError": "flexure.errors",
    "MissingPackageError": "flexure.errors",
    "Monitor": "flexure.monitors",
    "Result": "flexure.results",
    "Run": "flexure.results",
    "RunError": "flexure.errors",
    "Specimen": "flexure.specimen",
    "SpecimenError": "flexure.errors",
    "accuracy": "flexure.probes.accuracy",
    "activation_patterns": "flexure.probes.activation_patterns",
    "chart": "flexure.charts",
    "cluster": "flexure.analysis.cluster",
    "compare": "flexure.analysis.compare",
    "elasticity": "flexure.probes.elasticity",
    "examine": "flexure.runs.examine",
    "filters": "flexure.probes.filters",
    "fuzziness": "flexure.probes.fuzziness",
    "layers": "flexure.probes.layers",
    "linear_twin": "flexure.models",
    "load": "flexure.data",
    "phase_diagram": "flexure.probes.phase_diagram",
    "read": "flexure.results",
    "report": "flexure.page",
    "resolve": "flexure.models",
    "robustness": "flexure.probes.robustness",
    "sensitivity": "flexure.probes.sensitivity",
    "study": "flexure.studies",
    "sweep": "flexure.fleet",
    "train": "flexure.runs.train",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'flexure' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
