"""Many images: kernels by blocks, on disk and on again after a kill, with little memory, and what does not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import flexure
from flexure.bench import mount
from flexure.errors import ArgumentError, RunError
from flexure.probes.elasticity import elasticity, plan
from flexure.probes.elasticity.kernel import TangentStrips
from flexure.probes.elasticity.plan import Plan
from flexure.probes.elasticity.storage import Held
from flexure.probes.elasticity.tangent import Tangent
from flexure.specimen import Specimen
from tests import gauge
from tests.probes.interrupted import stopping

LITTLE = 1e6  # bytes: a kernel of more than 176 images is kept in float32, of more than 353 not in memory
N = 420
NAMES = ("kernel", "relative", "relative_signed", "cosine")


def net(seed=0):
    def made():
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 1)).double()

    return gauge.seeded(made, seed)


def images(n=N):
    return torch.randn(n, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


@pytest.fixture(scope="module")
def whole():
    """In one block, in memory."""
    return elasticity(net(), images(), per_layer=True)


def on_disk(folder, **options):
    return elasticity(net(), images(), folder=folder, **{"memory_limit": LITTLE} | options)


def test_a_kernel_on_disk_is_the_kernel_in_memory(whole, tmp_path):
    found = on_disk(tmp_path / "blocks", per_layer=True)
    files = sorted(file.name for file in (tmp_path / "blocks").glob("*.safetensors"))
    assert len(files) > 2 and found["kernel"].dtype == np.float32
    for name in (*NAMES, *(f"{name}/1" for name in NAMES)):
        np.testing.assert_allclose(found[name], whole[name], rtol=2e-6, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found.rows(name, 100, 103), found[name][100:103])
    np.testing.assert_array_equal(found["kernel"], found["kernel"].T)
    np.testing.assert_array_equal(found["sample_place"], whole["sample_place"])
    ours, expected = found.to_frame(), whole.to_frame()
    numbers = ours.select_dtypes("number").columns
    np.testing.assert_allclose(ours[numbers], expected[numbers], rtol=1e-4, atol=1e-6)
    assert any("kept in float32, on disk, as blocks of rows" in note for note in found.notes)


def test_a_large_kernel_in_memory_is_kept_in_float32(whole):
    found = elasticity(net(), images(300), memory_limit=LITTLE)
    assert found["kernel"].dtype == np.float32
    np.testing.assert_allclose(found["cosine"], whole["cosine"][:300, :300], atol=1e-6)


def test_a_run_that_was_killed_goes_on_at_the_next_block_to_the_same_bits(tmp_path):
    expected = on_disk(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        on_disk(tmp_path / "parts", progress=stopping(2))
    (tmp_path / "parts" / ".kernel-00000000.safetensors.a1b2.tmp").write_bytes(b"half")
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "parts").glob("kernel-*")}
    told = []
    found = on_disk(tmp_path / "parts", progress=stopping(0, told))
    assert len(before) == 2 and told[0][0] == 3 and told[-1][0] == told[-1][1]
    assert before == {name: (tmp_path / "parts" / name).stat().st_mtime_ns for name in before}
    np.testing.assert_array_equal(found["kernel"], expected["kernel"])
    np.testing.assert_array_equal(found["own"], expected["own"])
    told.clear()
    again = on_disk(tmp_path / "parts", progress=stopping(0, told))
    assert not told
    np.testing.assert_array_equal(again["kernel"], expected["kernel"])


def test_a_sketch_that_was_killed_goes_on_too(tmp_path):
    expected = on_disk(tmp_path / "whole", sketch=32)
    with pytest.raises(KeyboardInterrupt):
        on_disk(tmp_path / "parts", sketch=32, progress=stopping(1))
    assert [file.name for file in (tmp_path / "parts").glob("sketch-*")] == ["sketch-00000000-00000256.safetensors"]
    told = []
    found = on_disk(tmp_path / "parts", sketch=32, progress=stopping(0, told))
    assert told == [(2, 2)] and not list((tmp_path / "parts").glob("sketch-*"))
    for name in ("kernel", "kernel_se"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda folder: elasticity(net(1), images(), folder=folder, memory_limit=LITTLE), "specimen.weights_hash"),
        (lambda folder: on_disk(folder, sketch=16), "settings.sketch: null there, 16 asked for"),
        (lambda folder: on_disk(folder, dtype="float32"), 'dtype: "float64" there, "float32" asked for'),
        (lambda folder: elasticity(net(), images(500), folder=folder, memory_limit=LITTLE), "data.hash"),
    ],
    ids=["weights", "settings", "dtype", "images"],
)
def test_blocks_of_another_kernel_are_refused_and_left_alone(tmp_path, other, words):
    with pytest.raises(KeyboardInterrupt):
        on_disk(tmp_path, progress=stopping(1))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(RunError, match=rf"holds blocks of another kernel \(.*{words}.*Choose another folder"):
        other(tmp_path)
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_a_folder_of_other_files_and_a_block_cut_short_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds files, but none that says which kernel"):
        on_disk(tmp_path)
    (tmp_path / "notes.txt").unlink()
    on_disk(tmp_path)
    block = min(tmp_path.glob("kernel-*"))
    block.write_bytes(block.read_bytes()[:-8])
    with pytest.raises(RunError, match=r"kernel-0.*cannot be read .* Delete it to have it computed again"):
        on_disk(tmp_path)
    block.unlink()
    on_disk(tmp_path)


def test_small_kernels_need_no_folder_and_make_none(tmp_path):
    elasticity(net(), images(20), folder=tmp_path / "blocks")
    assert not (tmp_path / "blocks").exists()


def test_a_run_keeps_a_large_kernel_in_its_folder(whole, tmp_path):
    asked = {"probes": ["elasticity"], "options": {"elasticity": {"memory_limit": LITTLE}}, "dtype": "float64"}
    flexure.examine(net(), images(), out=tmp_path / "run", **asked)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    found = flexure.read(moved)["elasticity"]
    assert len(list((moved / "elasticity.blocks").glob("kernel-*"))) > 2
    for name in NAMES:
        np.testing.assert_allclose(found[name], whole[name], rtol=2e-6, atol=1e-6)
    page = flexure.report(moved, to=tmp_path / "page.html")
    assert "cosine" in Path(page).read_text(encoding="utf-8")
    flexure.chart(found, y="relative").to_dict()


class Matrices(nn.Module):
    """Two matrices in a product that no rule knows, so that their gradients take all the room."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = (nn.Parameter(torch.randn(16, width)) for width in (60, 100, 2))
        self.last = nn.Linear(160, 2)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(torch.cat([x @ self.one, x @ self.two], 1).tanh()) + x @ self.head


@pytest.mark.parametrize("has_points", [False, True])
@pytest.mark.parametrize(("room", "is_in_parts"), [(6e5, False), (1.2e5, False), (7.5e4, True)])
def test_however_little_room_there_is_the_numbers_are_the_same(room, is_in_parts, has_points):
    model, (x, _) = gauge.seeded(lambda: Matrices().double()), images(23)
    x, to = (x[:15], x[15:]) if has_points else (x, None)
    with mount(Specimen.of(model)) as mounted:
        tangent, sizes = Tangent.of(mounted, x), (len(x), len(x if to is None else to))
        asked = {"is_own": to is None, "outputs": 2, "matrices": 1}
        plans = [Plan.of(tangent, x, *sizes, **asked, room=bytes_) for bytes_ in (1e9, room)]
        one, two = (_kernel(tangent, x, to, how) for how in plans)
    assert plans[0].rows == len(x) and plans[1].rows < len(x) and plans[1].bytes <= room
    assert (len(plans[1].groups) > 1) is is_in_parts
    assert sorted(name for group in plans[1].groups for name in group) == sorted(dict(model.named_parameters()))
    for mine, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def _kernel(tangent, x, to, how):
    strips = TangentStrips(tangent, x, to, [0, 1], dict.fromkeys(tangent.parameters, ""), False, False, how)
    store = Held(strips.places, {"kernel": (len(x), len(x if to is None else to))}, to is None, torch.float64)
    for number in store.missing():
        store.put(number, strips.strip(number))
    return list(store.collected().values())


def test_what_does_not_fit_says_how_much_it_is_and_what_would(monkeypatch):
    with pytest.raises(
        ArgumentError, match=r"the kernel of 420 × 420 images takes 706 kB in float32.*353 images.*folder="
    ):
        elasticity(net(), images(), memory_limit=LITTLE)
    wide = nn.Sequential(nn.Flatten(), nn.Linear(16, 9), nn.Linear(9, 60))
    with pytest.raises(
        ArgumentError, match=r"output='all' of 30 × 30 images and 60 outputs takes 25.9 MB.*output='trace'"
    ):
        elasticity(wide, images(30)[0].float(), output="all", memory_limit=LITTLE)
    many = nn.Sequential(nn.Flatten(), nn.Linear(16, 60_000), nn.Linear(60_000, 1))
    with pytest.raises(ArgumentError, match=r"hold no gradients of two images: those of .* Blocks of one image need"):
        elasticity(many, images(5)[0].float(), memory_limit=LITTLE)
    monkeypatch.setattr(plan, "_free", lambda device: 2e5)
    with pytest.raises(
        ArgumentError, match=r"blocks of 150 images need .* and 200 kB are free. memory_limit=1.6e\+05 fits"
    ):
        elasticity(net(), images(150), memory_limit=2e6)


def test_the_description_in_the_folder_is_plain(tmp_path):
    on_disk(tmp_path)
    about = json.loads((tmp_path / "about.json").read_text(encoding="utf-8"))
    assert about["data"]["n"] == N and about["settings"]["memory_limit"] == LITTLE
