"""Weights from files: what is stripped, what must fit, and what is never executed."""

import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from flexure.errors import ArgumentError, SpecimenError
from flexure.models import load_state, load_weights, save_weights


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def trained():
    model = net()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    return model.state_dict()


def assert_loaded(path, state):
    model = net()
    load_weights(model, path)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_safetensors(tmp_path, trained):
    save_file(trained, tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors", trained)


def test_what_is_saved_is_read_back_also_tensors_that_share_memory(tmp_path, trained):
    save_weights(trained, tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors", trained)
    one = torch.arange(6.0).view(2, 3)
    save_weights({"one": one, "same": one, "turned": one.T}, tmp_path / "tied.safetensors")
    found = load_state(tmp_path / "tied.safetensors")
    assert torch.equal(found["same"], one) and torch.equal(found["turned"], one.T)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".PTH"])
def test_torch_files(tmp_path, trained, suffix):
    torch.save(trained, tmp_path / f"w{suffix}")
    assert_loaded(tmp_path / f"w{suffix}", trained)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_checkpoints_that_hold_more(tmp_path, trained, key):
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, key: trained}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "model.", "net.", "module._orig_mod.", "model.net.module."]
)
def test_prefixes_of_wrappers_are_taken_off(tmp_path, trained, prefix):
    torch.save({prefix + key: value for key, value in trained.items()}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_a_compiled_part_within_is_found(tmp_path, trained):
    torch.save({key.replace(".", "._orig_mod.", 1): value for key, value in trained.items()}, tmp_path / "w.pt")
    assert_loaded(tmp_path / "w.pt", trained)


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path):
    model = nn.ModuleDict({"model": nn.Linear(2, 2)})
    state = {key: value + 1 for key, value in model.state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model["model"].bias, state["model.bias"])


def test_counters_of_batch_norms_may_be_missing(tmp_path, trained):
    del trained["1.num_batches_tracked"]
    save_file(trained, tmp_path / "w.safetensors")
    model = net()
    load_weights(model, tmp_path / "w.safetensors")
    assert torch.equal(model[3].bias, trained["3.bias"])


def test_missing_and_unexpected_keys_are_listed_and_counted(tmp_path, trained):
    del trained["0.weight"], trained["3.bias"]
    trained |= {f"head.{k}": torch.zeros(1) for k in range(7)}
    torch.save(trained, tmp_path / "w.pt")
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(SpecimenError) as caught:
        load_weights(model, tmp_path / "w.pt")
    assert "do not fit Sequential. 6 of its 8 keys do" in str(caught.value)
    assert "2 missing keys: 0.weight, 3.bias;" in str(caught.value)
    assert "7 unexpected keys: head.0, head.1, head.2, head.3, head.4, …." in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_unexpected_keys_alone_are_refused_too(tmp_path, trained):
    torch.save(trained | {"head.bias": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(SpecimenError, match=r"8 of its 8 keys do; 1 unexpected keys: head.bias"):
        load_weights(net(), tmp_path / "w.pt")


def test_shapes_that_differ_are_named(tmp_path, trained):
    trained["3.weight"], trained["3.bias"] = torch.zeros(5, 8), torch.zeros(5)
    torch.save(trained, tmp_path / "w.pt")
    with pytest.raises(
        SpecimenError, match=r"3.weight is \(5, 8\) in the file, \(3, 8\) in the network.*number of classes"
    ):
        load_weights(net(), tmp_path / "w.pt")


def test_weights_of_something_else_altogether(tmp_path):
    save_file({"encoder.embed": torch.zeros(4)}, tmp_path / "w.safetensors")
    with pytest.raises(SpecimenError, match=r"0 of its 8 keys do.*Is this the right network"):
        load_weights(net(), tmp_path / "w.safetensors")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("executed",))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_that_would_run_code_is_refused_with_the_way_out(tmp_path, save):
    path = tmp_path / "w.pt"
    save({"state_dict": Bomb()}, path)
    with pytest.raises(SpecimenError, match=r"refused.*opening it would run code.*safetensors.torch.save_file"):
        load_state(path)


def test_a_whole_network_in_a_file_is_refused_and_the_culprit_named(tmp_path):
    torch.save(net(), tmp_path / "w.pt")
    with pytest.raises(SpecimenError, match=r"refused.*torch.nn.modules.container.Sequential"):
        load_state(tmp_path / "w.pt")


def test_a_missing_file(tmp_path):
    with pytest.raises(SpecimenError, match=r"weights .*w.pt: no such file"):
        load_state(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.bin", "w", "w.onnx"])
def test_another_kind_of_file(tmp_path, name):
    with pytest.raises(ArgumentError, match=r"expected a file ending in .safetensors, .pt, .pth, .ckpt"):
        load_state(tmp_path / name)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage that is no file at all", b"PK\x03\x04 cut off"])
def test_damaged_files(tmp_path, suffix, content):
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(SpecimenError, match="not a readable weights file"):
        load_state(path)


def test_a_truncated_file(tmp_path, trained):
    path = tmp_path / "w.pt"
    torch.save(trained, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SpecimenError, match="not a readable weights file"):
        load_state(path)


@pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)]])
def test_tensors_without_names(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(SpecimenError, match=r"expected tensors by name; it holds a (Tensor|list)"):
        load_state(tmp_path / "w.pt")


def test_no_tensors_at_all(tmp_path):
    torch.save(OrderedDict(epoch=3, note="hello"), tmp_path / "w.pt")
    with pytest.raises(SpecimenError, match="no tensors by name in it; it holds epoch, note"):
        load_state(tmp_path / "w.pt")


def test_a_torchscript_archive_is_no_weights_file(tmp_path):
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "w.pt")
    with pytest.raises(SpecimenError, match=r"not a readable weights file .Cannot use"):
        load_state(tmp_path / "w.pt")
