"""Optional packages: found where they are, explained where they are not, and helped where they do not fit."""

import importlib
import subprocess
import sys

import pytest

from flexure import ecosystem
from flexure.errors import FlexureError, MissingPackageError

GETTERS = {"torchvision": "vision", "timm": "vision", "datasets": "hub", "ray": "ray"}
TOOLBOX = "the Adversarial Robustness Toolbox"


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Write a package that shadows a real one, and forget it afterwards."""
    written = []

    def write(name: str, code: str, **parts: str) -> None:
        (tmp_path / name).mkdir()
        for part, text in parts.items():
            (tmp_path / name / f"{part}.py").write_text(text)
        (tmp_path / name / "__init__.py").write_text(code)
        written.append(name)
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in written:
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[module]


@pytest.mark.parametrize(("package", "extra"), GETTERS.items())
def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch, package, extra):
    real = importlib.import_module

    def without(name, *args):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args) if name not in GETTERS else None

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingPackageError, match=rf'{package} is needed.*pip install "flexure\[{extra}\]"') as caught:
        getattr(ecosystem, package)()
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, FlexureError)
    assert caught.value.name == package


def test_the_toolbox_is_named_in_full_where_it_or_something_it_needs_is_missing(fake):
    fake("art", "", attacks="import scikit_something")
    with pytest.raises(MissingPackageError, match=rf"{TOOLBOX} needs scikit_something, .*flexure\[attacks\]"):
        ecosystem.toolbox()
    fake_part = pytest.raises(MissingPackageError, match=rf"{TOOLBOX} needs art.estimators, which is not installed")
    with fake_part:
        ecosystem.toolbox("estimators")


@pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])
def test_lightning_is_taken_by_the_name_in_use(monkeypatch, fake, package):
    for name in ("lightning", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        fake(name, f"kind = {name!r}", pytorch=f"kind = {name!r}")
    importlib.import_module(package)
    assert [module.kind for module in ecosystem.lightning()] == [package]


def test_both_packages_of_lightning_are_given_where_both_are_in_use(fake):
    for name in ("lightning", "pytorch_lightning"):
        fake(name, f"kind = {name!r}", pytorch=f"kind = {name!r}")
        importlib.import_module(name)
    assert [module.kind for module in ecosystem.lightning()] == ["lightning", "pytorch_lightning"]


def test_lightning_is_imported_after_the_guarded_torchvision(monkeypatch, fake):
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    fake("torchvision", "ready = True")
    fake("lightning", "", pytorch="import sys; guarded = 'torchvision' in sys.modules")
    assert ecosystem.lightning()[0].guarded


def test_lightning_that_is_not_there_is_named_with_the_way_to_get_it(monkeypatch):
    find = importlib.util.find_spec
    hidden = ("lightning", "pytorch_lightning")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in hidden else find(name))
    for name in [name for name in sys.modules if name.split(".")[0] in hidden]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingPackageError, match=r'lightning.*pip install "flexure\[lightning\]"'):
        ecosystem.lightning()


def test_what_a_package_lacks_itself_is_named(fake):
    fake("datasets", "import no_such_thing_at_all")
    with pytest.raises(MissingPackageError, match="datasets needs no_such_thing_at_all, which is not installed"):
        ecosystem.datasets()


def test_a_package_that_breaks_otherwise_is_quoted_and_nothing_is_declared(fake, monkeypatch):
    monkeypatch.setattr(ecosystem, "_declare_operators", lambda: pytest.fail("declared"))
    fake("torchvision", "raise RuntimeError('built for another planet')")
    with pytest.raises(MissingPackageError, match=r"cannot be imported \(built for another planet\)"):
        ecosystem.torchvision()


def test_operators_are_declared_only_after_a_plain_import_failed(fake, monkeypatch):
    declared = []
    monkeypatch.setattr(ecosystem, "_declare_operators", lambda: declared.append(True))
    fake("torchvision", "version = 'plain'")
    assert ecosystem.torchvision().version == "plain"
    assert not declared


def test_a_package_whose_operators_are_unknown_is_imported_once_they_are_declared(fake, monkeypatch):
    monkeypatch.setattr(ecosystem, "_declare_operators", lambda: setattr(sys, "declared_for_test", True))
    monkeypatch.setattr(sys, "declared_for_test", False, raising=False)
    fake(
        "torchvision",
        "from torchvision import part\n"
        "if not part.declared:\n"
        "    raise RuntimeError('operator torchvision::nms does not exist')\n",
        part="import sys\ndeclared = sys.declared_for_test\n",
    )
    assert ecosystem.torchvision().part.declared


def test_timm_is_imported_after_the_guarded_torchvision(fake):
    fake("torchvision", "ready = True")
    fake("timm", "import torchvision\nready = torchvision.ready")
    assert ecosystem.timm().ready


def test_declaring_the_operators_twice_does_no_harm():
    code = "import torch; from flexure.ecosystem import _declare_operators as declare; declare(); declare()"
    assert subprocess.run([sys.executable, "-c", f"{code}; torch.ops.torchvision.nms"]).returncode == 0
