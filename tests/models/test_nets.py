"""The table of our own networks keeps its word."""

import pytest
import torch

from flexure.models import NETS


@pytest.mark.parametrize("name", NETS)
def test_every_net_takes_the_images_the_table_promises(name):
    net = NETS[name]
    model = net.factory(num_classes=4, channels=net.channels).eval()
    assert model(torch.rand(2, net.channels, *net.image_size)).shape == (2, 4)


@pytest.mark.parametrize("name", NETS)
def test_normalizations_fit_the_channels(name):
    net = NETS[name]
    assert net.normalize is None or len(net.normalize[0]) == len(net.normalize[1]) == net.channels
