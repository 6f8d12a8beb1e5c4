"""What we build: the networks the papers use, and specimens from anything a user calls a model."""

from flexure.models.exported import Exported
from flexure.models.fresh import reinitialized
from flexure.models.nets import NETS, Net
from flexure.models.normalization import NORMALIZATIONS, as_normalization
from flexure.models.resolve import check_model_name, resolve
from flexure.models.twin import linear_twin
from flexure.models.weights import check_weights, load_state, load_weights, save_weights

__all__ = [
    "NETS",
    "NORMALIZATIONS",
    "Exported",
    "Net",
    "as_normalization",
    "check_model_name",
    "check_weights",
    "linear_twin",
    "load_state",
    "load_weights",
    "reinitialized",
    "resolve",
    "save_weights",
]
