"""What a training makes small: losses of outputs and labels, and penalties on the weights."""

from flexure.losses.choosing import LOSSES, PENALTIES, as_loss, unit_of
from flexure.losses.costs import CostSensitive
from flexure.losses.filters import FilterPenalty, Penalty
from flexure.losses.minmax import MinMaxPenalty
from flexure.losses.outputs import BinaryCrossEntropy, CrossEntropy, Hinge, Loss, Squared, answers

__all__ = [
    "LOSSES",
    "PENALTIES",
    "BinaryCrossEntropy",
    "CostSensitive",
    "CrossEntropy",
    "FilterPenalty",
    "Hinge",
    "Loss",
    "MinMaxPenalty",
    "Penalty",
    "Squared",
    "answers",
    "as_loss",
    "unit_of",
]
