"""Exported programs: any batch size, the names of the original, and nothing else changed."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flexure import Specimen, resolve
from flexure.bench import mount
from flexure.errors import SpecimenError
from flexure.models import Exported, reinitialized
from flexure.models.exported import exported_specimen
from flexure.models.resnet import Block
from flexure.recorder import Recorder


class Mixed(nn.Module):
    """In-place ops, a module used twice, attention, functional calls, one that hands back its input, and a constant."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.block = Block(4, 8, 2)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.register_buffer("shift", torch.linspace(0, 1, 8))
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(8, 5))

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.block(self.relu(-x + 1))
        x += x.sin()
        x = self.norm(x.flatten(2).transpose(1, 2) + self.shift.exp())
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(F.dropout(x.mean(1), training=self.training))


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    return Mixed().eval()


def export(model, path, *, batch=4, dynamic=None, size=8):
    shapes = None if dynamic is None else ({0: torch.export.Dim("batch", min=dynamic[0], max=dynamic[1])},)
    program = torch.export.export(model, (torch.rand(batch, 3, size, size),), dynamic_shapes=shapes)
    torch.export.save(program, path)
    return path


@pytest.fixture(scope="module", params=["fixed", "dynamic"])
def exported(request, original, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    export(original, path, dynamic=(2, 6) if request.param == "dynamic" else None)
    return exported_specimen(path)


@pytest.mark.parametrize("n", [1, 3, 4, 7, 11])
def test_any_batch_size_gives_what_the_original_gives(original, exported, n):
    x = torch.rand(n, 3, 8, 8)
    torch.testing.assert_close(exported.model(x), original(x))


def recorded(model, x):
    seen = []
    with torch.no_grad(), Recorder(model, lambda e: seen.append((e.name, e.kind, e.value.clone()))) as recorder:
        recorder.begin()
        model(x)
    return seen


@pytest.mark.parametrize("n", [4, 7])
def test_every_op_is_shown_once_under_its_name_in_order_with_the_whole_batch(original, exported, n):
    x = torch.rand(n, 3, 8, 8)
    expected, found = recorded(original, x), recorded(exported.model, x)
    names = [name for name, _, _ in found]
    assert names == [name for name, _, _ in expected if name in set(names)]
    assert {name for name, _, _ in expected} - set(names) <= {"exp"}  # the constant does not depend on the input
    by_name = {name: (kind, value) for name, kind, value in expected}
    for name, kind, value in found:
        assert by_name[name][0] == kind
        torch.testing.assert_close(value, by_name[name][1], msg=name)


def test_in_place_ops_do_not_overwrite_what_was_shown_before(exported):
    shown = {name: value for name, _, value in recorded(exported.model, torch.rand(4, 3, 8, 8))}
    assert shown["stem"].min() < 0 <= shown["relu"].min()


def test_nobody_is_told_anything_unless_watching(exported):
    recorded(exported.model, torch.rand(2, 3, 8, 8))
    assert exported.model.observer is None


def test_it_is_resolved_measured_and_copied_like_any_network(original, tmp_path):
    specimen = resolve(str(export(original, tmp_path / "net.pt2")), trust=True, normalize="imagenet")
    assert (specimen.name, specimen.image_size) == ("net.pt2", (8, 8))
    x = torch.rand(5, 3, 8, 8)
    with mount(specimen, dtype="float64") as mounted:
        y = mounted.forward(mounted.normalized(x.double()))
        expected = copy.deepcopy(original).double()(mounted.normalized(x.double()))
    torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)
    assert not specimen.model.train().training


def test_a_copy_is_named_like_the_original(exported):
    x = torch.rand(4, 3, 8, 8)
    twin = copy.deepcopy(exported.model)
    assert [name for name, _, _ in recorded(twin, x)] == [name for name, _, _ in recorded(exported.model, x)]


def test_images_of_another_shape_are_refused(exported):
    with pytest.raises(SpecimenError, match=r"exported for images of 3 x 8 x 8; got a batch of shape \(2, 3, 9, 8\)"):
        exported.model(torch.rand(2, 3, 9, 8))


def test_it_has_no_fresh_weights(exported):
    assert "reset_parameters does not cover" in reinitialized(exported, 0)


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


def test_a_program_of_two_inputs_is_refused(tmp_path):
    program = torch.export.export(Two(), (torch.rand(2, 3), torch.rand(2, 3)))
    torch.export.save(program, tmp_path / "two.pt2")
    with pytest.raises(SpecimenError, match=r"two.pt2: the exported program takes x, y; it must take one batch"):
        exported_specimen(tmp_path / "two.pt2")


class Dict(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Flatten()

    def forward(self, x):
        x = self.body(x)
        return {"logits": x, "extra": (x.sum(1), x.amax())}


def test_outputs_keep_their_structure_and_what_has_no_batch_axis_comes_from_the_first_part():
    model = Exported.of(torch.export.export(Dict(), (torch.rand(3, 1, 2, 2),)))
    x = torch.rand(7, 1, 2, 2)
    found = model(x)
    torch.testing.assert_close(found["logits"], x.flatten(1))
    torch.testing.assert_close(found["extra"][0], x.flatten(1).sum(1))
    torch.testing.assert_close(found["extra"][1], x[:3].amax())
    assert Specimen(model).model is model
