"""The doctor: what is installed, what is missing, and how to get it."""

import subprocess
import sys
from importlib import metadata

import pytest
import torch

from flexure.runs import doctor, environment
from flexure.runs.doctor import examine_installation


def by_name() -> dict[str, doctor.Finding]:
    return {finding.what: finding for finding in examine_installation()}


def test_an_installation_that_works_is_fine():
    found = by_name()
    assert all(finding.fine for finding in found.values())
    assert found["torch"].state == torch.__version__
    assert found["numpy"].state == metadata.version("numpy")
    assert found["device cpu"].state in {"1 thread", f"{torch.get_num_threads()} threads"}
    assert found.keys() >= {"flexure", "python", "platform", "timm", "torchvision", "datasets", "device cuda"}


def installed(monkeypatch, **versions: str | None) -> None:
    real = environment.version
    monkeypatch.setattr(doctor, "version", lambda package: versions.get(package, real(package)))


def test_a_missing_package_comes_with_the_way_to_get_it(monkeypatch):
    installed(monkeypatch, scipy=None, timm=None)
    found = by_name()
    assert (found["scipy"].fine, found["scipy"].state) == (False, "missing")
    assert found["scipy"].advice == 'pip install "scipy>=1.13"'
    assert found["timm"].fine and found["timm"].advice.endswith('pip install "flexure[vision]"')


def test_a_package_that_is_too_old_says_what_is_needed(monkeypatch):
    installed(monkeypatch, numpy="1.26.0")
    finding = by_name()["numpy"]
    assert not finding.fine and finding.state == "1.26.0, but numpy>=2.0 is needed"


def test_an_installation_without_metadata_says_how_to_install(monkeypatch):
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", missing)
    assert by_name()["packages"].advice == "pip install -e . in its folder"


def test_a_torch_that_cannot_be_imported_is_told_from_one_that_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "is installed but cannot be imported" in by_name()["torch"].state
    installed(monkeypatch, torch=None)
    assert by_name()["torch"].state == "missing"
    assert by_name()["torch"].advice.startswith("pip install torch")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [(["doctor"], 1, "cannot be imported"), (["--version"], 0, "0."), (["--help"], 0, "doctor")],
)
def test_the_command_answers_without_torch(command, code, words):
    program = f"import sys; sys.modules['torch'] = None; from flexure.cli import run; sys.exit(run({command}))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (code, "")
    assert words in answer.stdout
