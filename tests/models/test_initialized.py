"""Before training, the networks are as sensitive as independent definitions of them were found to be."""

import numpy as np
import pytest

import flexure
from flexure.data import FolderImages, sample
from flexure.models import resolve

MEASURED_ELSEWHERE = {  # least and largest R over 3 seeds, 500 images of CIFAR-10, batch norm by batch statistics
    "DenseNetL4": (0.94, 0.98),
    "LeNet": (0.73, 0.98),
    "VGG11bn": (0.86, 0.96),
    "ResNet18": (0.77, 0.85),
    "AlexNet": (0.66, 0.72),
    "VGG11": (0.31, 0.46),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED_ELSEWHERE)
def test_initialized_networks_have_the_relative_stability_measured_elsewhere(real_data, name):
    images = sample(FolderImages(real_data / "cifar10" / "test"), 200, seed=0)
    batch_norm = "batch" if name in ("VGG11bn", "ResNet18") else "running"
    rows = [
        flexure.sensitivity(
            resolve(name, seed=seed), images, layers=[], batch_norm=batch_norm, group_size=100, seed=seed
        ).to_frame()
        for seed in range(3)
    ]
    logs = np.log([frame["R"].iloc[-1] for frame in rows])
    over_images = np.mean([frame["R_se"].iloc[-1] / frame["R"].iloc[-1] for frame in rows])
    se = np.sqrt((logs.var(ddof=1) + over_images**2) / 3)
    low, high = np.log(MEASURED_ELSEWHERE[name])
    assert low - 4 * se <= logs.mean() <= high + 4 * se
