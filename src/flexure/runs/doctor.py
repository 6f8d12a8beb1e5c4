"""What is installed, what is missing and how to get it; also answers where torch cannot be imported."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from types import ModuleType

from packaging.requirements import Requirement

import flexure
from flexure.runs.environment import version

__all__ = ["Finding", "examine_installation"]

MISSING = "missing"
_WHAT_FOR = {
    "vision": "models and data sets of timm and torchvision",
    "hub": "data sets of Hugging Face (hub:NAME)",
    "ray": "sweeps over many machines (flexure sweep --ray)",
    "attacks": "the attacks autoattack, deepfool, carlini-wagner and jsma",
    "lightning": "monitors in a Trainer of Lightning",
}


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: Package, device or program.
        state: Its version or description, or what is wrong with it.
        fine: Whether Flexure can work with it as it is.
        advice: What to do about it; empty where nothing is to be done.
    """

    what: str
    state: str
    fine: bool = True
    advice: str = ""


def examine_installation() -> list[Finding]:
    """Everything worth knowing about this installation, most important first.

    A finding that is not ``fine`` keeps Flexure from working; an optional package that is missing is fine, with advice.
    """
    return [*_itself(), *_packages(), *_torch()]


def _itself() -> Iterator[Finding]:
    yield Finding("flexure", flexure.__version__)
    old = sys.version_info < (3, 11)
    yield Finding("python", platform.python_version(), not old, "install Python 3.11 or newer" if old else "")
    yield Finding("platform", f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs")


def _packages() -> Iterator[Finding]:
    try:
        requirements = [Requirement(line) for line in metadata.requires("flexure") or []]
    except metadata.PackageNotFoundError:
        yield Finding("packages", "flexure itself is not installed", False, "pip install -e . in its folder")
        return
    core = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    yield from (_required(requirement) for requirement in core if requirement.name != "torch")
    for extra in _WHAT_FOR:
        more = [r for r in requirements if r not in core and r.marker and r.marker.evaluate({"extra": extra})]
        yield from (_optional(requirement, extra) for requirement in more)


def _required(requirement: Requirement) -> Finding:
    found = version(requirement.name)
    if found is None:
        return Finding(requirement.name, MISSING, False, f'pip install "{requirement.name}{requirement.specifier}"')
    if not requirement.specifier.contains(found, prereleases=True):
        wanted = f"{requirement.name}{requirement.specifier}"
        return Finding(requirement.name, f"{found}, but {wanted} is needed", False, f'pip install "{wanted}"')
    return Finding(requirement.name, found)


def _optional(requirement: Requirement, extra: str) -> Finding:
    found = _required(requirement)
    if found.fine:
        return found
    return Finding(found.what, found.state, True, f'for {_WHAT_FOR[extra]}: pip install "flexure[{extra}]"')


def _torch() -> Iterator[Finding]:
    """Torch is imported, because an installed one need not be one that works."""
    get = "pip install torch (https://pytorch.org/get-started/locally has the command for your GPU)"
    try:
        torch = import_module("torch")
    except (ImportError, OSError, RuntimeError) as wrong:
        found = version("torch")
        state = f"{found} is installed but cannot be imported ({wrong})" if found else MISSING
        yield Finding("torch", state, False, get)
        return
    yield Finding("torch", torch.__version__)
    yield from _devices(torch)


def _devices(torch: ModuleType) -> Iterator[Finding]:
    threads = torch.get_num_threads()
    yield Finding("device cpu", f"{threads} thread{'s' * (threads != 1)}")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            yield Finding(f"device cuda:{number}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB")
    elif torch.version.cuda is None and torch.version.hip is None:
        yield Finding(
            "device cuda", "none: this torch is built for the CPU", advice="install a CUDA build to use a GPU"
        )
    else:
        yield Finding("device cuda", "none found", advice="nvidia-smi says whether the driver sees a GPU")
