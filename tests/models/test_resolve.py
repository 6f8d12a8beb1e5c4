"""From a string to a specimen; names are checked before anything is read."""

import random

import numpy as np
import pytest
import torch

from flexure.errors import ArgumentError, SpecimenError
from flexure.models import NETS, check_model_name, resolve


@pytest.mark.parametrize("name", NETS)
def test_our_own_networks_bring_what_their_inputs_mean(name):
    specimen = resolve(name)
    assert (specimen.name, specimen.image_size, specimen.normalize) == (
        name,
        NETS[name].image_size,
        NETS[name].normalize,
    )
    assert specimen.bounds == (0, 1)
    assert not specimen.model.training


def test_options_override_what_a_network_brings():
    specimen = resolve("resnet20", normalize="cifar10", image_size=(40, 48), num_classes=100)
    assert specimen.normalize[0] == (0.4914, 0.4822, 0.4465)
    assert specimen.image_size == (40, 48)
    assert specimen.model.linear.out_features == 100
    assert specimen.factory().linear.out_features == 100
    assert resolve("resnet20", normalize="none").normalize is None


@pytest.mark.parametrize("name", ["LeNet", "VGG11bn", "ResNet18", "AlexNet", "DenseNetL4", "RESNET20"])
def test_the_papers_names_are_known_in_any_case(name):
    check_model_name(name)
    specimen = resolve(name, width=0.1)
    assert specimen.name == name.lower()


def test_our_own_networks_come_for_other_channels_and_widths():
    specimen = resolve("VGG11", channels=1, width=0.25, num_classes=3)
    assert specimen.model.features[0].weight.shape == (16, 1, 3, 3)
    assert specimen.factory().classifier.weight.shape == (3, 128)
    assert specimen.normalize is None
    assert resolve("VGG11", channels=3, width=0.1).normalize == NETS["vgg11"].normalize
    assert resolve("lenet5", channels=3).normalize is None


def test_a_fully_connected_network_is_built_for_the_images_it_is_to_be_shown():
    specimen = resolve("DenseNetL4", channels=1, image_size=28)
    assert specimen.model.shape == specimen.factory().shape == (1, 28, 28)
    assert specimen.image_size == (28, 28)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_classes": 0}, "num_classes must be a whole number, at least 1; got 0"),
        ({"channels": 1.5}, "channels must be a whole number, at least 1; got 1.5"),
        ({"width": 0}, "width is a factor and must be a finite number > 0; got 0"),
    ],
)
def test_shapes_that_no_network_has_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        resolve("resnet20", **options)


@pytest.mark.parametrize("option", ["channels", "width"])
def test_only_our_own_networks_take_channels_and_width(tmp_path, option):
    (tmp_path / "net.py").write_text("def build():\n    raise SystemExit\n")
    with pytest.raises(ArgumentError, match=f"{option} is for our own networks alone; leave it out"):
        resolve(f"{tmp_path}/net.py:build", **{option: 1})


def test_fresh_weights_depend_on_the_seed_alone_and_global_generators_are_left_alone():
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    one, again, other = (resolve("lenet5", seed=seed).model.fc3.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert states[0] == random.getstate()
    assert states[1] == np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(states[2], torch.get_rng_state())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("resnet2O", "no model 'resnet2O'. Did you mean 'resnet[0-9]+'.*Or timm:NAME, torchvision:NAME"),
        ("resnet20.safetensors", "holds weights: name the network"),
        ("net.py", "Say which function of the file builds it: net.py:factory"),
        ("", "no model ''"),
        (":net", "expected file.py:factory"),
    ],
)
def test_a_wrong_name_is_refused_with_the_way_to_say_it(model, words):
    with pytest.raises(ArgumentError, match=words):
        check_model_name(model)


def test_names_and_options_are_checked_before_weights_are_read(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"not read")
    with pytest.raises(ArgumentError, match="no model"):
        resolve("resnet21", weights=path)
    with pytest.raises(ArgumentError, match="no normalization"):
        resolve("resnet20", weights=path, normalize="cfar10")
    with pytest.raises(ArgumentError, match="image_size must be"):
        resolve("resnet20", weights=path, image_size=0)


def test_weights_are_checked_by_name_too(tmp_path):
    with pytest.raises(SpecimenError, match="no such file"):
        check_model_name("resnet20", weights=tmp_path / "w.pt")
    with pytest.raises(ArgumentError, match="expected a file ending in"):
        check_model_name("resnet20", weights="w.txt")
    with pytest.raises(ArgumentError, match="only timm: and torchvision: models come pretrained; give a file"):
        check_model_name("resnet20", weights="pretrained")


def test_an_exported_program_is_opened_only_when_trusted(tmp_path):
    path = tmp_path / "net.pt2"
    with pytest.raises(SpecimenError, match="no such file"):
        resolve(str(path))
    path.write_bytes(b"not opened")
    with pytest.raises(ArgumentError, match=r"a .pt2 is a program.*say so: trust=True \(--trust\)"):
        resolve(str(path))
    with pytest.raises(ArgumentError, match="holds its weights; leave weights out"):
        resolve(str(path), trust=True, weights="w.pt")
    with pytest.raises(SpecimenError, match="not an exported program this version of torch"):
        resolve(str(path), trust=True)
