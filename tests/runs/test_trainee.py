"""From a spec to a network and its images: classes, channels and divisions follow from the data."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flexure.data import own_labels_of
from flexure.errors import ArgumentError
from flexure.runs.trainee import prepare_training, to_measure
from flexure.runs.training_spec import TrainingSpec


def prepared(**fields):
    return prepare_training(TrainingSpec.of({"net": "lenet5", "data": "digits", **fields}))


def outputs(trainee) -> int:
    with torch.no_grad():
        batch = trainee.images.read([0, 1])
        return trainee.specimen.model(batch.x).shape[1]


def test_data_without_test_images_are_divided_and_nothing_is_in_both():
    found = prepared(seed=4)
    assert not set(found.images.indices.tolist()) & set(found.test.indices.tolist())
    assert (len(found.images) + len(found.test), len(found.test)) == (1797, 359)
    assert found.notes == ("Tested on 20% of the images, drawn by the seed, which were not trained on.",)
    other = prepared(seed=4, hold_out=0.5, limit=100, test_limit=50)
    assert (len(other.images), len(other.test)) == (100, 50)


def test_fresh_weights_follow_from_the_seed():
    one, same, other = (prepared(seed=seed, limit=20).specimen.model.conv1.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_hinge_loss_makes_one_output_and_pixels_may_be_bright():
    found = prepared(net="lenet", data="scale-detection-2d", loss="hinge", limit=20, test_limit=20)
    assert outputs(found) == 1
    assert found.specimen.bounds == (0.0, 392.0)
    assert tuple(found.images.read([0]).x.shape) == (1, 1, 28, 28)


def test_one_output_for_binary_cross_entropy_and_one_per_class_for_squared_unless_said():
    assert outputs(prepared(loss={"binary_cross_entropy": {"of": "probabilities"}}, limit=20)) == 1
    assert outputs(prepared(loss="squared", limit=20)) == 10
    assert outputs(prepared(loss="squared", num_classes=1, limit=20)) == 1


def test_points_are_given_in_two_splits_but_those_of_the_authors_are_divided():
    fields = {"net": "densenetl2", "width": 0.1, "num_classes": 1}
    found = prepared(**fields, data="torus-curves", seed=3)
    assert outputs(found) == 1 and found.specimen.bounds == (-9.0, 9.0)
    assert (len(found.images), len(found.test), found.notes) == (100, 100, ())
    assert not torch.equal(found.images.read([0]).x, found.test.read([0]).x)
    assert found.test.read([0]).x.shape == (1, 1, 1, 3)
    fixed = prepared(**fields, data="folded-boxes:draw=authors")
    assert (len(fixed.images), len(fixed.test)) == (80, 20)


def folder(root, *, channels: int = 3):
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for number in range(count):
            place = root / split / f"class{number % 3}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number}.png")
    return root


def test_folders_have_their_own_test_images_and_as_many_classes_as_folders(tmp_path):
    found = prepared(net="resnet20", data=f"folder:{folder(tmp_path)}", width=0.25)
    assert (len(found.images), len(found.test), outputs(found), found.notes) == (12, 6, 3, ())


def test_class_folders_without_parts_are_divided(tmp_path):
    found = prepared(net="resnet20", data=f"folder:{folder(tmp_path) / 'train'}", hold_out=0.25)
    assert (len(found.images), len(found.test)) == (9, 3)


def test_channels_and_classes_may_be_said(tmp_path):
    found = prepared(data=f"folder:{folder(tmp_path)}", net="small_cnn", num_classes=7, image_size=32)
    assert outputs(found) == 7
    assert found.specimen.model.conv1.in_channels == 3


def test_options_of_a_network_reach_it_and_its_factory():
    found = prepared(
        net="simple_cnn",
        net_options={"kernel": 3, "depth": 2},
        data="scale-detection-1d",
        loss="hinge",
        limit=8,
        test_limit=8,
    )
    assert outputs(found) == 1
    assert sum(p.ndim == 4 for p in found.specimen.model.parameters()) == 2
    assert type(found.specimen.factory()) is type(found.specimen.model)


def test_the_linear_twin_is_trained_in_its_place():
    fields = {"net": "fnn", "width": 0.001, "loss": "squared", "num_classes": 1, "limit": 10}
    twin, network = (prepared(**fields, **more).specimen.model for more in ({"twin": "linear"}, {}))
    assert not [module for module in twin.modules() if isinstance(module, nn.ReLU)]
    assert torch.equal(twin.layers.linear1.weight, network.layers.linear1.weight)
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    one, two = twin(x), twin(2 * x)
    torch.testing.assert_close(two - one, one - twin(0 * x))
    head = {"net_options": {"probabilities": True}, "twin": {"linear": {"keep": ["head"]}}}
    with_head = prepared(**fields, **head).specimen.model
    torch.testing.assert_close(with_head(x), one.sigmoid())


@pytest.mark.parametrize(("twin", "words"), [
    ("liner", r"twin: no 'liner'\. Did you mean 'linear'"),
    ({"linear": {"kept": ["head"]}}, r"twin\.linear: no option 'kept'\. Did you mean 'keep'"),
    ({"linear": {"keep": ["hd"]}}, "no module 'hd' to keep"),
])  # fmt: skip
def test_a_twin_that_there_is_not_is_refused(twin, words):
    with pytest.raises(ArgumentError, match=words):
        prepared(net="fnn", width=0.001, loss="squared", num_classes=1, twin=twin)


def test_groups_of_classes_make_two_labels_and_those_of_one_are_measured_under_their_own():
    fields = {"data": "digits:groups=3+9/5+8", "loss": "hinge", "limit": 40, "test_limit": 20, "seed": 2}
    found = prepared(**fields)
    assert outputs(found) == 1
    assert np.bincount(found.images.labels).tolist() == [20, 20]
    assert np.bincount(own_labels_of(found.images)[0])[[3, 5, 8, 9]].tolist() == [10, 10, 10, 10]
    assert not set(found.images.indices.tolist()) & set(found.test.indices.tolist())

    def measured(**more):
        return to_measure(TrainingSpec.of({"net": "lenet5", **fields, **more}), found)

    assert measured().indices.tolist() == found.test.indices.tolist()
    seen = measured(measure_on="train", measure_label=1)
    assert set(seen.indices.tolist()) <= set(found.images.indices.tolist())
    assert np.bincount(seen.labels)[[5, 8]].tolist() == [10, 10] and len(seen) == 20
    assert np.bincount(measured(measure_on="train", measure_label=1, measure_limit=6).labels)[[5, 8]].tolist() == [3, 3]
    with pytest.raises(ArgumentError, match="no image of label 2; there are 0, 1"):
        measured(measure_label=2)


def test_a_folder_with_groups_keeps_its_own_test_images(tmp_path):
    data = f"folder:{folder(tmp_path)}:groups=class2/class0+class1"
    found = prepared(net="resnet20", data=data, width=0.25, limit=6)
    assert (len(found.images), len(found.test), outputs(found), found.notes) == (6, 6, 2, ())
    assert np.bincount(found.images.labels).tolist() == [3, 3]
