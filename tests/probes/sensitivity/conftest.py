"""What the tests of this folder measure unless they say otherwise."""

import pytest

from tests.probes.sensitivity.specimens import built, net, smooth_images


@pytest.fixture
def x():
    return smooth_images(60)


@pytest.fixture
def model(x):
    return built(net(), x)
