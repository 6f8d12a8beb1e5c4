"""How often the network is right: numbers on paper, whatever the batches, and a reason where there is no answer."""

import json
import math

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from probes.interrupted import Shelf, stopping
from processes import launched
from torch import nn

import flexure
from flexure import Specimen
from flexure.data import TensorImages
from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.losses import Squared
from flexure.perturb.corruption import GaussianCorruption
from flexure.probes import PROBES
from flexure.results import MEASURED


class _First(nn.Module):
    """The outputs are the first numbers of the image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return x.flatten(1)[:, : self.classes]


def labelled(n: int = 40, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return gauge.images(n).double(), torch.arange(n) % classes


def only(result) -> dict:
    (row,) = result.to_frame().to_dict("records")
    return row


def test_right_answers_and_losses_are_those_on_paper():
    x = torch.zeros(4, 1, 1, 3, dtype=torch.float64)
    x[:, 0, 0] = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    y = torch.tensor([0, 1, 0, 0])
    row = only(flexure.accuracy(_First(3), (x, y)))
    losses = np.array([-math.log(math.e**2 / (math.e**2 + 2)), *[-math.log(z / (math.e + 2)) for z in (math.e, 1)]])
    losses = np.append(losses, math.log(3))
    assert row["accuracy"] == 0.75
    assert row["error"] == 0.25
    assert row["accuracy_se"] == row["error_se"] == pytest.approx(math.sqrt(0.75 * 0.25 / 3), rel=1e-12)
    assert row["loss"] == pytest.approx(losses.mean(), rel=1e-12)
    assert row["loss_se"] == pytest.approx(losses.std(ddof=1) / 2, rel=1e-12)
    assert (row["layer"], row["corruption"], row["n"], row["status"], row["draws"]) == ("output", 0, 4, MEASURED, 1)


def test_equal_outputs_lose_the_logarithm_of_the_classes_and_take_the_first():
    x, y = labelled(20)
    row = only(flexure.accuracy(_First(10), (torch.zeros_like(x), y)))
    assert row["loss"] == pytest.approx(math.log(10), rel=1e-12)
    assert row["accuracy"] == 0.1


@pytest.mark.parametrize("flat", [False, True])
def test_one_output_is_judged_by_its_sign_and_the_hinge_loss(flat):
    x = torch.tensor([2.0, 0.5, -0.5, -3.0, 0.0]).double().view(5, 1, 1, 1)
    y = torch.tensor([1, 1, 1, 0, 0])
    model = nn.Flatten(0) if flat else nn.Flatten()
    found = flexure.accuracy(model, (x, y))
    row = only(found)
    assert row["accuracy"] == 0.8
    assert row["loss"] == pytest.approx(np.mean([0, 0.5, 1.5, 0, 1]), rel=1e-12)
    assert found.units["loss"] == "hinge"
    assert "loss is the hinge loss max(0, 1 - y f)" in found.notes[0]


@pytest.mark.parametrize("loss", ["squared", {"squared": {"half": True}}, Squared()])
def test_one_output_that_learnt_labels_as_numbers_is_judged_from_one_half(loss):
    x = torch.tensor([0.9, 0.4, 0.6, -0.5]).double().view(4, 1, 1, 1)
    found = flexure.accuracy(nn.Flatten(), (x, torch.tensor([1, 0, 0, 0])), loss=loss)
    row = only(found)
    factor = 0.5 if isinstance(loss, dict) else 1.0
    assert row["accuracy"] == 0.75
    assert row["loss"] == pytest.approx(factor * np.mean([0.01, 0.16, 0.36, 0.25]), rel=1e-6)
    assert found.units["loss"] == "squared"
    assert found.notes[0].endswith(f"those of Squared(half={factor == 0.5}).")
    assert found.provenance["settings"]["loss"] == f"Squared(half={factor == 0.5})"


def test_a_loss_that_gives_a_mean_or_does_not_exist_is_refused():
    x, y = labelled(4, 2)
    with pytest.raises(ArgumentError, match=r"a loss per image; it gave shape \(\) for 4 images.*reduction='none'"):
        flexure.accuracy(_First(2), (x, y), loss=F.cross_entropy)
    with pytest.raises(ArgumentError, match=r"no loss 'squard'\. Did you mean 'squared'"):
        flexure.accuracy(_First(2), (x, y), loss="squard")


def test_under_noise_the_error_is_that_of_the_normal_law():
    n, level = 2000, 3.0
    x = torch.full((n, 1, 2, 2), 0.5, dtype=torch.float64)
    rows = flexure.accuracy(_First(1), (x, torch.ones(n, dtype=torch.int64)), corruption=[0, level], draws=2).to_frame()
    wrong = 0.5 * (1 + math.erf(-0.5 / (level / 2) / math.sqrt(2)))
    assert rows["error"][0] == 0
    assert abs(rows["error"][1] - wrong) <= 4 * rows["error_se"][1]
    assert rows["error_se"][1] == pytest.approx(math.sqrt(wrong * (1 - wrong) / n / 2), rel=0.1)
    assert rows["draws"].tolist() == [1, 2]


def test_images_are_corrupted_after_normalization_exactly_as_the_transform_does():
    x, y = labelled(12)
    model = gauge.seeded(gauge.linear).double()
    specimen = Specimen(model, normalize=((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    row = only(flexure.accuracy(specimen, (x, y % 5), corruption=2.0, draws=2, seed=3))
    normal = (x - torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    noisy = [GaussianCorruption(2.0)(normal, torch.arange(12), seed=3, draw=draw) for draw in range(2)]
    with torch.no_grad():
        losses = torch.stack([F.cross_entropy(model(part), y % 5, reduction="none") for part in noisy]).mean(0)
        right = torch.stack([model(part).argmax(1) == y % 5 for part in noisy]).double().mean(0)
    assert row["loss"] == pytest.approx(losses.mean().item(), rel=1e-6)
    assert row["loss_se"] == pytest.approx(losses.std().item() / math.sqrt(12), rel=1e-6)
    assert row["accuracy"] == pytest.approx(right.mean().item(), rel=1e-12)


def test_a_level_stands_for_itself_whatever_stands_beside_it():
    data, model = labelled(), gauge.seeded(gauge.ResidualNet).double()
    together = flexure.accuracy(model, data, corruption=[1.0, 0.0, 10.0]).to_frame()
    alone = [flexure.accuracy(model, data, corruption=level).to_frame() for level in (1.0, 0.0, 10.0)]
    for place, frame in enumerate(alone):
        assert frame.iloc[0].to_dict() == together.iloc[place].to_dict()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_make_no_difference(batch_size):
    data, model = labelled(), gauge.seeded(gauge.ResidualNet).double()
    options = {"corruption": (0.0, 1.0), "draws": 3}
    whole = flexure.accuracy(model, data, batch_size=40, **options).to_frame()
    parts = flexure.accuracy(model, data, batch_size=batch_size, **options).to_frame()
    for name in whole.select_dtypes("number"):
        assert np.allclose(parts[name], whole[name], rtol=1e-10)


def test_without_labels_the_status_says_so():
    row = only(flexure.accuracy(gauge.linear(), gauge.images()))
    assert row["status"] == "no labels"
    assert row["n"] == 0
    assert math.isnan(row["accuracy"])
    assert math.isnan(row["loss_se"])


def test_images_without_a_label_are_left_out_and_counted():
    x, y = labelled(10)
    y[3] = y[5] = -1
    model = gauge.seeded(gauge.ResidualNet).double()
    found = flexure.accuracy(model, (x, y))
    assert only(found)["n"] == 8
    assert found.notes == ("2 of 10 images have no label and are left out.",)
    kept = flexure.accuracy(model, (x[y >= 0], y[y >= 0]))
    assert only(found)["loss"] == pytest.approx(only(kept)["loss"], rel=1e-12)


def test_images_that_cannot_be_used_are_left_out_and_named():
    x, y = labelled(10)
    x[4, 0, 0, 0] = torch.nan
    found = flexure.accuracy(gauge.seeded(gauge.ResidualNet).double(), (x, y), batch_size=3)
    assert only(found)["n"] == 9
    assert found.notes == ("1 of 10 images could not be used and are left out (image 4: non-finite pixels).",)
    with pytest.raises(DataError, match=r"none of its 3 images can be used \(image 0: non-finite pixels\)"):
        flexure.accuracy(gauge.linear(), (torch.full((3, 3, 8, 8), torch.nan), torch.arange(3)))


def test_labels_that_no_output_stands_for_end_in_a_status_whatever_the_batch_size():
    x, y = labelled(12)
    rows = [only(flexure.accuracy(gauge.linear().double(), (x, y), batch_size=size)) for size in (3, 12)]
    for row in rows:
        assert row["status"] == "no output for label 5 of image 5 and 4 more: outputs stand for labels 0 to 4"
        assert math.isnan(row["accuracy"]) and math.isnan(row["error"]) and math.isnan(row["loss_se"])
        assert row["n"] == 7
    row = only(flexure.accuracy(gauge.linear(1).double(), (x[:3], y[:3])))
    assert row["status"] == "no output for label 2 of image 2: outputs stand for labels 0 to 1"
    row = only(flexure.accuracy(gauge.linear().double(), (x[:2], torch.tensor([9, 8]))))
    assert (row["n"], row["status"].partition(":")[0]) == (0, "no output for label 9 of image 0 and 1 more")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Identity(), "the output is float32 3×8×8, not one number per class"),
        (gauge.Calls(lambda net, x: x.mean()), "the output is float32 one number, not one number per class"),
        (gauge.Calls(lambda net, x: x.flatten(1).argmax(1)), "the output is int64 one number, not"),
    ],
)
def test_outputs_that_are_no_classes_end_in_a_status(model, words):
    row = only(flexure.accuracy(model, (gauge.images(), torch.zeros(8, dtype=torch.int64))))
    assert words in row["status"]
    assert math.isnan(row["error"])


def test_features_are_no_classes():
    row = only(flexure.accuracy(Specimen(gauge.linear(), task="features"), labelled()))
    assert row["status"] == "features, not one output per class"


def test_outputs_that_are_not_finite_are_named():
    class Broken(nn.Module):
        def forward(self, x):
            f = x.flatten(1)[:, :10]
            return torch.where(x[:, :1, 0, 0] > 2, torch.nan, f)

    x, y = labelled(20)
    x[[7, 13], 0, 0, 0] = 3
    row = only(flexure.accuracy(Broken(), (x, y), batch_size=4))
    assert row["status"] == "non-finite at image 7 and 1 more"
    assert row["n"] == 18
    assert math.isnan(row["accuracy"])


@pytest.mark.parametrize(
    "model",
    [
        gauge.Calls(lambda net, x: F.dropout(x.flatten(1)[:, :10])),
        nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()),
    ],
)
def test_a_network_that_is_not_steady_is_refused(model):
    words = "two passes over the same images.* differ by .* Is there dropout that stays on, or a batch norm without"
    with pytest.raises(SpecimenError, match=words):
        flexure.accuracy(model, (gauge.images(), torch.zeros(8, dtype=torch.int64)))


def test_more_outputs_than_named_classes_are_pointed_out():
    images = TensorImages(gauge.images(6), labels=np.arange(6) % 2, classes=("cat", "dog"))
    found = flexure.accuracy(gauge.linear(), images)
    assert found.notes == ("The data name 2 classes, the network has 5 outputs: label k is output k.",)
    assert not flexure.accuracy(gauge.linear(1), images).notes[1:]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"corruption": ()}, "corruption names no level"),
        ({"corruption": (0, -1)}, "a level must be finite, 0 or more; got -1"),
        ({"corruption": (1, 1.0)}, "every level of corruption once"),
        ({"draws": 0}, "draws must be a whole number of at least 1; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(options, words):
    with pytest.raises(ArgumentError, match=words):
        flexure.accuracy(gauge.linear(), "no data at all", **options)
    if "batch_size" not in options:
        with pytest.raises(ArgumentError, match=words):
            PROBES["accuracy"].refuse(options)


def test_passes_are_counted_beforehand():
    assert PROBES["accuracy"].cost({}, 10) == (1, 1)
    assert PROBES["accuracy"].cost({"corruption": [0, 1, 10], "draws": 4}, 10) == (9, 9)


@pytest.mark.parametrize("after", [1, 3])
def test_a_stopped_measurement_goes_on_to_the_identical_result(after):
    x, y = labelled(20)
    y[2] = -1
    x[3] = torch.nan
    model, shelf, seen = gauge.seeded(gauge.ResidualNet).double(), Shelf(), []
    options = {"corruption": (0.0, 2.0), "draws": 2, "batch_size": 4}

    whole = flexure.accuracy(model, (x, y), **options)
    with pytest.raises(KeyboardInterrupt):
        flexure.accuracy(model, (x, y), checkpoint=shelf, progress=stopping(after, seen), **options)
    found = flexure.accuracy(model, (x, y), checkpoint=shelf, progress=stopping(0, seen), **options)
    assert [done for done, _ in seen] == [1, 2, 3, 4, 5]
    assert found.to_frame().equals(whole.to_frame())
    assert found.notes == whole.notes
    other = flexure.accuracy(model, (x, y), checkpoint=shelf, corruption=1.0, batch_size=4)
    assert only(other)["n"] == 18


SCRIPT = """
import json, torch
import flexure
from flexure import distributed
from flexure.models import resolve

torch.set_num_threads(1)
x = torch.rand(31, 1, 28, 28, generator=torch.Generator().manual_seed(0))
y = torch.arange(31) % 10
x[5, 0, 0, 0], y[8] = torch.nan, -1
with distributed.start():
    options = {"corruption": [0, 3], "draws": 2, "batch_size": 6, "dtype": "float64"}
    found = flexure.accuracy(resolve("small_cnn"), (x, y), **options)
    if distributed.is_main():
        table = found.to_frame().drop(columns=["layer", "status"]).to_numpy(float).tolist()
        print(json.dumps([distributed.world_size(), table, list(found.notes)]))
"""


@pytest.mark.slow
def test_three_processes_agree_with_one(tmp_path):
    told = [json.loads(launched(tmp_path, SCRIPT, world_size)[-1]) for world_size in (1, 3)]
    assert [told[0][0], told[1][0]] == [1, 3]
    np.testing.assert_allclose(told[1][1], told[0][1], rtol=1e-10)
    assert told[1][2] == told[0][2]


def test_progress_is_told_batch_by_batch():
    told = []
    found = flexure.accuracy(
        _First(10), labelled(20), batch_size=8, corruption=[0, 1], draws=3, progress=lambda *step: told.append(step)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert found.provenance["passes"] == {"rows": 80}
