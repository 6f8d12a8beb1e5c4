"""Whatever the project asks for, or its checks install, has its version in the list of what was tested together."""

import re
import shlex
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
PINNED = {canonicalize_name(pin.name): pin for pin in PINS}


def test_each_pin_is_one_version_and_stands_once():
    assert len(PINNED) == len(PINS)
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in PINS)


def test_what_the_project_asks_for_is_pinned_to_a_version_it_takes():
    extras = PROJECT["optional-dependencies"]
    asked = [Requirement(line) for line in sum(extras.values(), PROJECT["dependencies"])]
    for one in (one for one in asked if one.name != "flexure"):
        (version,) = PINNED[canonicalize_name(one.name)].specifier
        assert one.specifier.contains(version.version, prereleases=True), f"{one} against {version}"


def test_what_the_checks_install_is_pinned():
    lines = re.findall(r"^install (.+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), flags=re.M)
    words = [word for line in lines for word in shlex.split(line) if re.fullmatch(r"\w[\w-]*", word)]
    assert {"timm", "ray", "lightning"} <= set(words)
    assert [word for word in words if canonicalize_name(word) not in PINNED] == []
