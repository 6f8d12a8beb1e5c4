"""Which weights a network has, as a forward pass would use them: of its convolutions, or all of them."""

from flexure.weights.convolutions import convolutions
from flexure.weights.every import every_weight
from flexure.weights.layer import LayerWeight, select

__all__ = ["LayerWeight", "convolutions", "every_weight", "select"]
