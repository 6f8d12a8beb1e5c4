"""A user's own network from a file or a module."""

import sys

import pytest
import torch
from torch import nn

from flexure import Specimen, resolve
from flexure.errors import ArgumentError, SpecimenError

SOURCE = """
import torch
from torch import nn
import flexure
import helper_beside_it

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(4, helper_beside_it.CLASSES))

def small(): return Net()
def known(): return flexure.Specimen(Net(), normalize=(0.5, 0.25), bounds=(-1, 1), name="known")
def late():
    import later_beside_it
    return later_beside_it.Net()
def wants(width): return Net()
def breaks(): return 1 / 0
def nothing(): return None
ready = Net()
number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "net.py").write_text(SOURCE)
    (tmp_path / "helper_beside_it.py").write_text("CLASSES = 3")
    (tmp_path / "later_beside_it.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self):\n        super().__init__(2, 2)"
    )
    yield tmp_path / "net.py"
    for name in ("helper_beside_it", "later_beside_it"):
        sys.modules.pop(name, None)


def test_a_function_or_class_of_a_file(file):
    for name in ("small", "Net"):
        specimen = resolve(f"{file}:{name}")
        assert specimen.model(torch.zeros(1, 1, 2, 2)).shape == (1, 3)
        assert specimen.name == f"net.py:{name}"
        assert not specimen.model.training
        assert specimen.normalize is None
        assert specimen.bounds is None


def test_the_factory_is_kept_and_gives_fresh_weights(file):
    specimen = resolve(f"{file}:small")
    again = specimen.factory()
    assert not torch.equal(again[1].weight, specimen.model[1].weight)


def test_a_specimen_of_the_user_keeps_what_it_says(file):
    specimen = resolve(f"{file}:known")
    assert (specimen.normalize, specimen.bounds, specimen.name) == (((0.5,), (0.25,)), (-1, 1), "known")
    assert isinstance(specimen.factory(), nn.Module)
    assert resolve(f"{file}:known", normalize="0/1").bounds == (-1, 1)


def test_a_network_that_is_there_already(file):
    specimen = resolve(f"{file}:ready")
    assert isinstance(specimen, Specimen)
    assert specimen.factory is None


def test_imports_beside_the_file_work_also_late_and_the_search_path_is_left_alone(file):
    before = list(sys.path)
    assert isinstance(resolve(f"{file}:late").model, nn.Linear)
    assert sys.path == before


def test_a_module_of_the_working_directory(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    file.rename(file.with_name("net_as_module.py"))
    assert resolve("net_as_module:small").name == "net_as_module:small"
    sys.modules.pop("net_as_module")


def test_weights_and_normalization_apply_to_it(file, tmp_path):
    state = {"1.weight": torch.ones(3, 4), "1.bias": torch.zeros(3)}
    torch.save(state, tmp_path / "w.pt")
    specimen = resolve(f"{file}:small", weights=tmp_path / "w.pt", normalize="0.5/0.5", image_size=2)
    assert torch.equal(specimen.model[1].weight, torch.ones(3, 4))
    assert (specimen.bounds, specimen.image_size) == ((0, 1), (2, 2))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("smal", ArgumentError, r"net.py has no 'smal'. Did you mean 'small'"),
        ("wants", SpecimenError, r"calling it without arguments failed: TypeError: wants\(\) missing"),
        ("breaks", SpecimenError, r"ZeroDivisionError: division by zero \(net.py, line 17\)"),
        ("nothing", SpecimenError, "expected a torch.nn.Module or a flexure.Specimen from it; got NoneType"),
        ("number", SpecimenError, "expected a function or class; it is a int"),
        ("not a name", ArgumentError, "expected file.py:factory or package.module:factory"),
    ],
)
def test_what_cannot_be_built_is_explained(file, name, error, words):
    with pytest.raises(error, match=words):
        resolve(f"{file}:{name}")


def test_a_file_that_cannot_be_imported_is_explained_each_time(tmp_path):
    (tmp_path / "bad.py").write_text("x = 1\nimport no_such_thing_at_all\n")
    for _ in range(2):
        with pytest.raises(
            SpecimenError, match=r"importing .*bad.py failed: ModuleNotFoundError.*no_such_thing.*line 2"
        ):
            resolve(f"{tmp_path}/bad.py:net")


def test_missing_files_and_modules(tmp_path):
    with pytest.raises(SpecimenError, match=r"no file .*nowhere.py"):
        resolve(f"{tmp_path}/nowhere.py:net")
    with pytest.raises(SpecimenError, match="importing no_such_thing_at_all failed: ModuleNotFoundError"):
        resolve("no_such_thing_at_all:net")


def test_the_number_of_classes_is_the_users_own_business(file):
    with pytest.raises(ArgumentError, match="it says itself how many classes it has"):
        resolve(f"{file}:small", num_classes=5)
