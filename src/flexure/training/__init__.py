"""How it learnt: one plain loop, which knows nothing of its listeners but a protocol."""

from flexure.training.augmentation import AUGMENTATIONS, Augmentation, RandomCrop, RandomFlip
from flexure.training.callbacks import Callback, EpochRecord, History
from flexure.training.loop import Accuracy, accuracy, fit, follow
from flexure.training.recipe import DECAYS, OPTIMIZERS, PRECISIONS, Recipe
from flexure.training.saving import SavedState
from flexure.training.schedules import SCHEDULES, Constant, Cosine, EpochCosine, EpochExponential, Schedule
from flexure.training.stopping import EarlyStop, Stop

__all__ = [
    "AUGMENTATIONS",
    "DECAYS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "Accuracy",
    "Augmentation",
    "Callback",
    "Constant",
    "Cosine",
    "EarlyStop",
    "EpochCosine",
    "EpochExponential",
    "EpochRecord",
    "History",
    "RandomCrop",
    "RandomFlip",
    "Recipe",
    "SavedState",
    "Schedule",
    "Stop",
    "accuracy",
    "fit",
    "follow",
]
