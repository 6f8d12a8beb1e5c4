"""From a spec to a network and its images: classes, channels and divisions follow from the data."""

import numpy as np
import torch
from PIL import Image

from flexure.runs.trainee import prepare_training
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
