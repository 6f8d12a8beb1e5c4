"""Images and networks that train in milliseconds."""

import numpy as np
import torch
from torch import nn

from flexure.data import TensorImages


def images(n: int = 10, classes: int = 3) -> TensorImages:
    generator = torch.Generator().manual_seed(0)
    return TensorImages(torch.rand(n, 1, 4, 4, generator=generator), np.arange(n) % classes)


def net(classes: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, classes)).double()


def dropout_net() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Dropout(), nn.BatchNorm1d(8), nn.Linear(8, 3))


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])
