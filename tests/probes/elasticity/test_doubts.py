"""What steps of finite size say of themselves where they cannot be taken at their word."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from flexure.errors import ArgumentError
from flexure.probes.elasticity import elasticity
from tests.probes.elasticity.test_limit import images, mlp


class Rooted(nn.Module):
    """A layer, and beside it a root that has no slope for an image whose first pixel is zero."""

    def __init__(self):
        super().__init__()
        self.head, self.shift = nn.Linear(16, 1), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        first = x.flatten(1)[:, :1]
        return self.head(x.flatten(1)) + (first.abs() + self.shift * (first == 0)).sqrt()


def test_where_rounding_rules_the_step_to_take_is_named_and_is_one():
    model, (x, y) = mlp(16, 9, 1).float(), images()
    x = x.float()
    found = elasticity(model, (x, y), step=1e-9)
    (note,) = (note for note in found.notes if note.startswith("Rounding in float32"))
    step = float(re.search(r"with step=([\d.e-]+), which takes away at most 3% of a residual", note)[1])
    again = elasticity(model, (x, y), step=step)
    assert again.provenance["diagnostics"]["rounding"] < 0.01
    assert 0.01 < again.provenance["diagnostics"]["linearity"] < 0.1
    assert not any("Rounding" in note for note in again.notes)


def test_an_image_whose_step_is_not_finite_hides_no_rounding_at_others():
    x, y = images()
    x[1, 0, 0, 0] = 0
    torch.manual_seed(0)
    found = elasticity(Rooted(), (x.float(), y), step=1e-6)
    assert np.isnan(found["relative"][1]).all() and np.isfinite(np.delete(found["relative"], 1, 0)).all()
    assert found.provenance["diagnostics"]["rounding"] > 1e-4
    assert any(note.startswith("Steps on 1 images are not finite (the first: image 1)") for note in found.notes)


def test_a_step_so_large_that_predictions_overflow_is_no_accident():
    x, y = images()
    found = elasticity(mlp(16, 9, 9, 1), (x, y), step=1e200)
    assert np.isnan(found["relative"]).any()
    assert any("too large to be read as the limit" in note or "not finite" in note for note in found.notes)


def test_an_optimizer_that_asks_for_the_loss_again_is_refused():
    model, data = mlp(16, 1), images()
    with pytest.raises(ArgumentError, match="LBFGS evaluates the loss again within a step; expected an optimizer"):
        elasticity(model, data, step=0.1, optimizer=torch.optim.LBFGS(model.parameters()))
