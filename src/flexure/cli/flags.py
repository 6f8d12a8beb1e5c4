"""The arguments and flags that several commands have."""

from pathlib import Path
from typing import Annotated

from flexure.cli.root import Names, flag
from flexure.probes import PROBES, check_probes

__all__ = [
    "MODEL", "Classes", "Config", "Data", "Device", "Download", "Normalization", "Probes", "Root", "Seed", "Size",
    "Trust", "Weights",
]  # fmt: skip

MODEL = flag("timm:NAME, torchvision:NAME, FILE.py:FACTORY, FILE.pt2, or one of our nets (resnet20).")
Weights = Annotated[str | None, flag("A .safetensors, or a .pt, .pth, .ckpt without pickled code; or pretrained.")]
Size = Annotated[str | None, flag("Bring images to N×N (224) or H×W (224x320).", "what the network was made for")]
Normalization = Annotated[str | None, flag("cifar10, imagenet, none, or MEAN/STD.", "what the network brings")]
Classes = Annotated[int | None, flag("Outputs of the network, where that can be chosen.")]
Probes = Annotated[
    Names, flag(f"Questions to ask: {', '.join(PROBES)}.", ", ".join(check_probes(())), consume_multiple=True)
]
Trust = Annotated[bool, flag("Open an exported program (.pt2), which may run code that is in it.")]
Data = Annotated[str | None, flag("digits, mnist, cifar10, folder:PATH, hub:NAME, …")]
Root = Annotated[str | None, flag("Folder in which data sets lie.", "~/data")]
Download = Annotated[bool, flag("Fetch a data set that is not under --root.")]
Seed = Annotated[int | None, flag("Every random number follows from it.", "0")]
Device = Annotated[str | None, flag("auto, cpu, cuda, cuda:1, …", "auto")]
Config = Annotated[Path | None, flag("YAML file with all this, such as a run's spec.yaml; flags win.")]
