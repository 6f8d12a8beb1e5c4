"""Where numbers come from: everything that a repetition needs, as plain JSON values."""

import platform
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
import torch

from flexure.bench import Mounted, weights_hash
from flexure.data import Images, content_hash, labels_of

__all__ = ["provenance"]

_NO_IMAGES = {"name": "the weights alone", "n": 0, "hash": None, "classes": None}


def provenance(mounted: Mounted, images: Images | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, seed, specimen, data, versions and device of a measurement that starts now; None: it uses no images."""
    specimen = mounted.specimen
    names = {"flexure": _version(), "torch": torch.__version__, "python": platform.python_version()}
    return {
        "settings": {name: value for name, value in settings.items() if name != "seed"},
        "seed": settings.get("seed"),
        "specimen": {
            "name": specimen.name,
            "normalize": None
            if specimen.normalize is None
            else [np.atleast_1d(part).tolist() for part in specimen.normalize],
            "bounds": None if specimen.bounds is None else list(specimen.bounds),
            "output": None if specimen.output is None else str(specimen.output),
            "weights_hash": weights_hash(specimen.model),
        },
        "data": _NO_IMAGES if images is None else _data(images),
        "versions": names,
        "device": _device_name(mounted.device),
        "dtype": str(mounted.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _data(images: Images) -> dict[str, Any]:
    labels = labels_of(images)
    return {
        "name": images.name,
        "n": len(images),
        "hash": content_hash(images),
        "classes": None if labels is None else len(set(labels.tolist())),
    }


@cache
def _version() -> str:
    return metadata.version("flexure")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
