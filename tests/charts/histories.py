"""Results of trainings as they would be written, made from a formula."""

import numpy as np
import pandas as pd

from flexure.results import Result


def history(
    name: str = "lenet5", *, epochs: int = 12, tested: bool = True, end: float = 0.97, best: int = 11
) -> Result:
    """A training in which accuracy rises to ``end`` and the loss falls as it should."""
    epoch = np.arange(1, epochs + 1)
    rise = 1 - np.exp(-4 * epoch / epochs)
    frame = pd.DataFrame({"epoch": epoch, "lr": 0.05 * (1 + np.cos(np.pi * (epoch - 1) / epochs)) / 2})
    for prefix, top, n in (("", end, 1438), ("test_", end + 0.01, 359 if tested else 0)):
        share = 0.1 + (top - 0.1) * rise
        frame[f"{prefix}accuracy"] = share if n else np.nan
        frame[f"{prefix}accuracy_se"] = np.sqrt(share * (1 - share) / n) if n else np.nan
        frame[f"{prefix}loss"] = 2.3 * (1 - rise) + 0.05 if n else np.nan
        frame[f"{prefix}loss_se"] = 0.02 if n else np.nan
        frame[f"{prefix}n"], frame[f"{prefix}skipped"] = n, 0
    frame["status"] = "measured"
    recipe = {"epochs": epochs, "lr": 0.05, "optimizer": "sgd", "schedule": "Cosine()", "weight_decay": 5e-4}
    about = {
        "settings": {**recipe, "decay": "matrices", "augment": ["RandomCrop(padding=4)"], "nesterov": False},
        "seed": 0,
        "specimen": {"name": name},
        "data": {"name": "digits", "n": 1438},
        "test": {"name": "digits", "n": 359} if tested else None,
        "ended": f"all {epochs} epochs were made",
        "best_epoch": best if tested else None,
        "device": "cpu",
        "dtype": "float32",
    }
    question = "How did it learn: loss and accuracy after each pass over the training images?"
    return Result("training", question, frame, units={"loss": "nats"}, provenance=about)
