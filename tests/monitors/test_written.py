"""What monitors leave: the remarks of several steps, and the steps themselves, whole."""

import numpy as np
import torch
from torch import nn

from flexure import Monitor
from flexure.monitors import read_steps


def test_remarks_that_differ_in_their_numbers_alone_are_told_once():
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), torch.rand(5, 1, 2, 2)
    monitor = Monitor("elasticity", images, every=1)
    for step in range(3):
        monitor(step, network)
        with torch.no_grad():
            network[1].weight.mul_(2)
    assert len(monitor.result().notes) == 1  # affine: the kernel stays, and so does the step that is recommended
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Linear(3, 1))
    monitor = Monitor("elasticity", images, every=1)
    for step in range(3):
        monitor(step, network)
        with torch.no_grad():
            network[1].weight.mul_(2)
    notes = monitor.result().notes
    assert len(notes) == 1 and notes[0].endswith("of a residual. (At the last step; the others differ.)")


def test_steps_are_handed_out_whole_in_order(tmp_path):
    network, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), torch.rand(5, 1, 2, 2)
    monitor = Monitor("elasticity", images, every=1, out=tmp_path)
    for step in (0, 1, 10):
        monitor(step, network)
    found = read_steps(tmp_path, "elasticity")
    assert [one.provenance["monitor"]["step"] for one in found] == [0, 1, 10]
    flat = images.flatten(1).numpy()
    np.testing.assert_allclose(found[2]["kernel"], flat @ flat.T + 1, rtol=1e-5)
