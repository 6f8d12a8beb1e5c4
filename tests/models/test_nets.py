"""The table of our own networks keeps its word, for narrow ones and other images too."""

import pytest
import torch

import flexure
from flexure import Specimen
from flexure.models import NETS, reinitialized
from flexure.results import MEASURED

NARROW = 0.07
SIZED = [name for name in NETS if NETS[name].is_sized]
FREE = [name for name in NETS if not NETS[name].is_sized and name not in ("lenet5", "lenet8")]


def narrow(name: str, **options: int):
    return NETS[name].factory(**{"num_classes": 4, "channels": NETS[name].channels, "width": NARROW, **options}).eval()


def images(name: str) -> torch.Tensor:
    return torch.rand(2, NETS[name].channels, *NETS[name].image_size)


@pytest.mark.parametrize("name", NETS)
def test_every_net_takes_the_images_the_table_promises(name):
    net = NETS[name]
    model = net.factory(num_classes=4, channels=net.channels).eval()
    assert model(images(name)).shape == (2, 4)


@pytest.mark.parametrize("name", NETS)
def test_a_narrow_net_has_fewer_parameters_and_the_same_layers(name):
    with torch.device("meta"):
        whole, less = (NETS[name].factory(num_classes=4, channels=3, width=width) for width in (1.0, NARROW))
    assert sum(p.numel() for p in less.parameters()) < sum(p.numel() for p in whole.parameters()) / 2
    assert [type(module) for module in whole.modules()] == [type(module) for module in less.modules()]
    assert narrow(name)(images(name)).shape == (2, 4)


@pytest.mark.parametrize("name", NETS)
def test_normalizations_fit_the_channels(name):
    net = NETS[name]
    assert net.normalize is None or len(net.normalize[0]) == len(net.normalize[1]) == net.channels


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28), (3, 40, 33), (2, 64, 64)])
def test_any_image_of_28_pixels_or_more_goes_through(name, shape):
    assert narrow(name, channels=shape[0])(torch.rand(2, *shape)).shape == (2, 4)


@pytest.mark.parametrize("name", SIZED)
def test_the_others_are_built_for_the_size_of_the_images(name):
    model = narrow(name, channels=1, image_size=(28, 20))
    assert model(torch.rand(2, 1, 28, 20)).shape == (2, 4)


@pytest.mark.parametrize("name", NETS)
def test_the_layout_in_memory_makes_no_difference(name):
    model, x = narrow(name), images(name)
    y = model(x)
    mirrored = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not mirrored.is_contiguous()
    for other in (mirrored, x.contiguous(memory_format=torch.channels_last)):
        assert torch.allclose(model(other), y, atol=1e-5)


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_can_be_reset_without_the_factory(name):
    model = narrow(name)
    fresh = reinitialized(Specimen(model), 0)
    assert isinstance(fresh, torch.nn.Module), fresh
    changed = [not torch.equal(a, b) for a, b in zip(model.parameters(), fresh.parameters(), strict=True) if a.ndim > 1]
    assert all(changed)


@pytest.mark.parametrize("name", NETS)
def test_every_op_has_a_name_of_its_own_and_can_be_measured(name):
    found = flexure.layers(Specimen(narrow(name)), images(name)).to_frame()
    assert found["layer"].is_unique
    assert set(found["status"]) == {MEASURED}
