"""What cannot be attacked is refused before anything is: options, bounds, labels, networks without a gradient."""

import sys

import gauge
import pytest
import torch
from probes.robustness.nets import labelled, linear
from torch import nn

import flexure
from flexure import Specimen
from flexure.errors import ArgumentError, DataError, MissingPackageError, SpecimenError
from flexure.probes import PROBES


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": [0.1, -0.1]}, r"every eps must be finite, 0 or more; got -0.1 at position 1 of \(0.1, -0.1\)"),
        ({"eps": None}, "every eps must be finite, 0 or more; got None at position 0"),
        ({"eps": [0.1, 0.05]}, r"eps must rise, each once; got 0.05 after 0.1 in .* Try sorted"),
        ({"eps": [0.1, 0.1]}, "each once; got 0.1 after 0.1"),
        ({"eps": []}, "eps names no budget"),
        ({"eps": [float("inf")]}, "finite, 0 or more; got inf"),
        ({"attacks": "fgms"}, r"no attack 'fgms'\. Did you mean 'fgsm'"),
        ({"starts": ()}, "starts names no start"),
        ({"starts": ("cold",)}, "no start 'cold'"),
        ({"starts": ("clean", "clean")}, "only the start 'random' can be repeated"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"step": 0}, "step must be above 0, a share of eps such as 0.1"),
        ({"seed": 0.5}, "seed must be a whole number; got 0.5"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(options, words):
    with pytest.raises(ArgumentError, match=words):
        flexure.robustness(linear(), "no data at all", **options)
    if "seed" not in options:
        with pytest.raises(ArgumentError, match=words):
            PROBES["robustness"].refuse(options)


def test_attacks_of_the_library_need_it_and_are_refused_without_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "art", None)
    monkeypatch.delitem(sys.modules, "art.attacks", raising=False)
    words = r'the Adversarial Robustness Toolbox is needed.*pip install "flexure\[attacks\]"'
    for name in ("autoattack", "deepfool"):
        with pytest.raises(MissingPackageError, match=words):
            flexure.robustness(linear(), labelled(4), attacks=name)
        with pytest.raises(MissingPackageError, match=words):
            PROBES["robustness"].refuse({"attacks": [name]})
    least, most = PROBES["robustness"].cost({"eps": 0.1, "attacks": ["autoattack", "jsma"]}, 10)
    assert least < most


def test_without_bounds_nothing_is_attacked():
    with pytest.raises(SpecimenError, match=r"Sequential: has no bounds.* flexure.Specimen\(model, bounds=\(0, 1\)"):
        flexure.robustness(gauge.linear(), labelled(4))


def test_images_outside_the_bounds_are_refused_before_any_attack():
    x, y = labelled(40, 5)
    x[37] = 2.64
    told: list = []
    with pytest.raises(DataError, match=r"span .*2\.64\], outside bounds \(0, 1\)\. Already normalized\?"):
        flexure.robustness(linear(5), (x, y), batch_size=4, progress=lambda *step: told.append(step))
    assert not told


def test_bytes_are_taken_for_bytes():
    x, y = labelled(8, 5)
    with pytest.raises(DataError, match=r"outside bounds \(0, 1\)\. Bytes from 0 to 255\? Divide them by 255\."):
        flexure.robustness(linear(5), (255 * x.clamp(0, 1), y))


def test_labels_that_no_output_stands_for_are_refused_before_any_attack():
    x, y = labelled(40, 5)
    y[38] = 5
    told: list = []
    words = "image 38 has label 5, but the outputs of Sequential stand for labels 0 to 4"
    with pytest.raises(DataError, match=words):
        flexure.robustness(linear(5), (x, y), batch_size=4, progress=lambda *step: told.append(step))
    assert not told


def unseen(x):
    """The same numbers on a way that no gradient knows and no op is seen on."""
    with torch._C.DisableTorchFunction():
        return x.detach().clone()


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (lambda net, x: net.flat(net.conv2(x.detach())), r"It is lost at 'detach' \(detach\)"),
        (lambda net, x: net.flat(net.conv2(net.act((x > 0).double()))), r"It is lost at '\w+' \(\w+\)"),
        (lambda net, x: net.flat(unseen(net.conv2(x))), r"It is lost at 'flat' \(Flatten\)"),
        (lambda net, x: unseen(net.flat(x)), "after the last op that was seen"),
    ],
)
def test_a_network_that_no_gradient_leads_through_is_refused_and_the_op_named(then, words):
    model = gauge.Calls(then, conv2=nn.Conv2d(4, 4, 3), act=nn.ReLU(), flat=nn.Flatten()).double()
    with pytest.raises(SpecimenError, match=rf"Calls: the output has no gradient with respect to the image.*{words}"):
        flexure.robustness(Specimen(model, bounds=(0, 1)), labelled(4))
