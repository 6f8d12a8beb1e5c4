"""Small networks with bounds, and images with labels, to be attacked."""

import gauge
import torch

from flexure import Specimen


def labelled(n: int = 40, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return gauge.images(n).double(), torch.arange(n) % classes


def linear(classes: int = 1, scale: float = 1.0) -> Specimen:
    model = gauge.seeded(lambda: gauge.linear(classes)).double()
    model[1].weight.data *= scale
    return Specimen(model, bounds=(0, 1))


def residual(**about) -> Specimen:
    return Specimen(gauge.seeded(gauge.ResidualNet).double(), bounds=(0, 1), **about)
