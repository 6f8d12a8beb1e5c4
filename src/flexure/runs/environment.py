"""Where a run took place: versions, device, threads and the command, as plain values. Imports no torch by itself."""

import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import flexure

__all__ = ["command_line", "environment", "now", "versions"]

_PACKAGES = ("torch", "numpy", "pandas", "scipy", "scikit-learn", "pillow", "torchvision", "timm", "datasets")


def environment(*, device: str = "cpu", world_size: int = 1, command: str | None = None) -> dict[str, Any]:
    """What ``env.json`` says about the machine and the software; nothing that identifies a person or a host.

    Args:
        device: Device the network was measured on.
        world_size: Processes that measured together.
        command: The command that made the run; by default how this program was called.
    """
    torch = import_module("torch")
    return {
        "flexure": flexure.__version__,
        "python": platform.python_version(),
        "versions": versions(_PACKAGES),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "device_name": torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else platform.processor() or "cpu",
        "cuda": torch.version.cuda if device.startswith("cuda") else None,
        "world_size": world_size,
        "command": command or command_line(sys.argv),
        "started": now(),
    }


def versions(packages: Sequence[str]) -> Mapping[str, str]:
    """Version of each package that is installed, without importing it."""
    return {name: found for name in packages if (found := version(name)) is not None}


def version(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def command_line(arguments: Sequence[str]) -> str:
    """How this program was called, ready to be pasted into a shell.

    >>> command_line(["/usr/bin/flexure", "layers", "my net.py:make"])
    "flexure layers 'my net.py:make'"
    """
    program = Path(arguments[0]).name if arguments else "python"
    started = [program]
    if program == "__main__.py":
        processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
        launcher = ["python"] if processes == "1" else ["torchrun", "--nproc-per-node", processes]
        started = [*launcher, "-m", "flexure"]
    return shlex.join([*started, *arguments[1:]])


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
