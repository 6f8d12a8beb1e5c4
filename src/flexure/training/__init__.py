"""How it learnt: one plain loop, which knows nothing of its listeners but a protocol."""

from flexure.training.callbacks import Callback, EpochRecord, History
from flexure.training.loop import OPTIMIZERS, SCHEDULES, Accuracy, accuracy, fit

__all__ = ["OPTIMIZERS", "SCHEDULES", "Accuracy", "Callback", "EpochRecord", "History", "accuracy", "fit"]
