"""Images, networks and a way to compare results, for the tests of this folder."""

import numpy as np
import torch
from torch import nn

SIDE = 12


def smooth_images(n, channels=2, height=SIDE, width=SIDE, seed=0, dtype=torch.float64):
    """Images whose neighbouring pixels belong together, in [0, 1]."""
    coarse = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=True)


def net(seed=0, channels=2, features=6):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.LazyLinear(features)
    ).double()


def built(model, x):
    model(x[:2])
    return model.eval()


def row(result, layer="output"):
    return result.to_frame().set_index("layer").loc[layer]


def assert_same(left, right, tolerance):
    columns = ["D", "D_se", "G", "G_se", "R", "R_se"]
    one, other = left.to_frame()[columns].to_numpy(), right.to_frame()[columns].to_numpy()
    np.testing.assert_allclose(one, other, rtol=tolerance, atol=0)


class After(nn.Module):
    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, images):
        return self.head(self.body(images))


def orthogonal(y):
    q, _ = torch.linalg.qr(torch.randn(y.shape[1], y.shape[1], generator=torch.Generator().manual_seed(3)).double())
    return y @ q
