"""Networks that train within seconds: shapes and sizes."""

import pytest
import torch

from flexure.models.small import LeNet, LeNet5, LeNet8, SmallCNN


def test_lenet5_has_the_textbook_number_of_parameters():
    assert sum(p.numel() for p in LeNet5().parameters()) == 61_706
    assert LeNet5()(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_lenet8_has_the_convolutions_of_lenet5_and_images_of_8_pixels():
    own, other = LeNet8(), LeNet5()
    assert [own.conv1.weight.numel(), own.conv2.weight.numel()] == [150, 2400]
    assert own.conv1.weight.shape == other.conv1.weight.shape and own.conv2.weight.shape == other.conv2.weight.shape
    assert own.conv1.padding == own.conv2.padding == (2, 2)
    assert own(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert sum(p.numel() for p in own.parameters()) == 21_386


def test_lenet_for_color_images_pads_nothing():
    assert sum(p.numel() for p in LeNet().parameters()) == 62_006
    assert LeNet().conv1.padding == LeNet().conv2.padding == (0, 0)


def test_lenet_sees_small_images_in_a_frame_of_zeros():
    model, x = LeNet(channels=1), torch.rand(2, 1, 28, 28)
    assert torch.equal(model(x), model(torch.nn.functional.pad(x, (2, 2, 2, 2))))


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (32, 20), (4, 4)])
def test_the_small_cnn_takes_any_image_size(size):
    assert SmallCNN(num_classes=3, channels=2).eval()(torch.rand(2, 2, *size)).shape == (2, 3)


def test_every_layer_of_the_small_cnn_is_a_module_called_once():
    model, calls = SmallCNN(), []
    for name, module in model.named_children():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    model(torch.rand(2, 1, 28, 28))
    assert calls == [name for name, _ in model.named_children()]
