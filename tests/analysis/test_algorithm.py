"""The paper's Algorithm 1 as a whole: train against auxiliary images, step on each primary one, cluster."""

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.data import TensorImages
from flexure.data.groups import grouped, of_label
from flexure.training import fit
from tests import gauge


@pytest.mark.parametrize("flipped", [False, True])
def test_two_blobs_against_a_third_are_told_apart_without_having_been_named(flipped):
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(90) % 3
    middle = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0]])[kind]
    x = (middle + 0.3 * torch.randn(90, 2, generator=generator)).view(90, 1, 1, 2)
    groups = [["0", "1"], ["2"]] if flipped else [["2"], ["0", "1"]]
    images = grouped(TensorImages(x, kind.numpy()), groups)
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 1)))
    fit(model, images, epochs=20, lr=0.02, batch_size=30, momentum=0.0, loss=flexure.losses.Squared(), seed=0)
    found = flexure.cluster(flexure.elasticity(model, of_label(images, 0 if flipped else 1))).to_frame()
    assert (found["accuracy"] == 1).all() and (found["n"] == 60).all()
    np.testing.assert_array_equal(found["similarity"], ["relative", "kernel"])
