"""The data hash tells other data apart, and nothing else."""

import dataclasses

import numpy as np
import torch

from flexure.data import TensorImages, content_hash, sample


def images(n: int = 40) -> TensorImages:
    return TensorImages(torch.arange(n * 4.0).view(n, 1, 2, 2), np.arange(n) % 3)


def test_the_same_images_give_the_same_hash_whatever_they_are_called():
    assert content_hash(images()) == content_hash(dataclasses.replace(images(), name="renamed"))
    assert len(content_hash(images())) == 16


def test_another_sample_label_pixel_size_or_type_gives_another_hash():
    plain = images()
    relabelled = dataclasses.replace(plain, labels=np.r_[plain.labels[:20], 0, plain.labels[21:]])
    brighter = dataclasses.replace(plain, x=plain.x.index_add(0, torch.tensor([39]), torch.ones(1, 1, 2, 2)))
    others = [
        sample(plain, 20, seed=0),
        sample(plain, 20, seed=1),
        relabelled,
        brighter,
        dataclasses.replace(plain, image_size=(3, 3)),
        dataclasses.replace(plain, x=plain.x.double()),
    ]
    assert len({content_hash(other) for other in [plain, *others]}) == 7


def test_one_image_is_enough():
    assert content_hash(images(1)) != content_hash(images(2))
