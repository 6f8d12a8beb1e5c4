"""How many images withstand attacks: counted on paper, whatever the batches, with the checks that show bad attacks."""

import gauge
import numpy as np
import pytest
import torch
from probes.robustness.nets import labelled, linear, residual
from torch import nn

import flexure
from flexure import Specimen
from flexure.errors import DataError
from flexure.perturb.attacks import margins, pgd
from flexure.probes import PROBES
from flexure.probes.robustness.outcomes import Outcomes
from flexure.probes.robustness.settings import Settings
from flexure.probes.robustness.table import rows_of
from flexure.results import MEASURED, Result

ATTACKS = ["sign-noise", "fgsm", "pgd", "pgd-margin", "worst"]


def answers(specimen: Specimen, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return specimen.model(x).argmax(1)


class Around(nn.Module):
    """A network that is shown something else than its images."""

    def __init__(self, own: nn.Module, before) -> None:
        super().__init__()
        self.own, self.before = own, before

    def forward(self, x):
        return self.own(self.before(x))


def rows(result, attack: str):
    frame = result.to_frame()
    return frame[frame["attack"] == attack].reset_index(drop=True)


def checks(result, name: str) -> list[dict]:
    return [one for one in result.provenance["sanity"] if one["check"] == name]


def test_what_any_attack_fools_within_a_smaller_eps_is_among_the_worst_within_a_larger():
    settings = Settings((0.1, 0.2), ("pgd",), 5, None, ("random",), 64, 0)
    right = {name: np.ones((2, 3), np.int8) for name in ("sign-noise", "fgsm", "pgd", "pgd.last")}
    right["fgsm"][0, 1] = 0  # its step within the larger eps leads beyond where the network is wrong
    parts = {"index": np.arange(3), "clean": np.ones(3, np.int8), "far": np.zeros(3, np.int8)}
    found = rows_of(Outcomes({**parts, **right}), settings)
    assert found["worst"].tolist() == [[1, 0, 1]] * 2 and found["fgsm"].tolist() == [[1, 0, 1], [1, 1, 1]]


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd-margin", "worst"])
def test_on_a_linear_network_those_withstand_whose_margin_is_above_eps_times_the_norm_of_the_weights(attack):
    specimen = linear()
    x = 0.4 + 0.2 * gauge.images(60).double()
    with torch.no_grad():
        specimen.model[1].bias -= specimen.model(x).median()
        f = specimen.model(x).flatten()
        norm = float(specimen.model[1].weight.abs().sum())
    y = (f > -0.1 * f.std()).long()
    signed = (2 * y - 1) * f
    eps = [0.0, 0.3 * float(f.std()) / norm, float(f.std()) / norm]
    found = flexure.robustness(specimen, (x, y), eps=eps, steps=5)
    expected = [float((signed > size * norm).double().mean()) for size in eps]
    assert len(set(expected)) == 3
    table = rows(found, attack)
    assert table["robust_accuracy"].tolist() == expected
    assert (table["clean_accuracy"] == float((signed > 0).double().mean())).all()
    assert (table["n"] == 60).all() and (table["status"] == MEASURED).all()


def test_a_row_per_attack_and_budget_with_intervals_and_errors_over_images():
    specimen, (x, _) = residual(), labelled(50)
    y = answers(specimen, x)
    y[:5] = (y[:5] + 1) % 10
    found = flexure.robustness(specimen, (x, y), eps=[0.005, 0.05], steps=4)
    table = found.to_frame()
    assert table["attack"].tolist() == ["clean", *(name for name in ATTACKS for _ in range(2))]
    assert table["eps"].tolist() == [0.0, *[0.005, 0.05] * 5]
    assert (table["clean_accuracy"] == 0.9).all() and table["robust_accuracy"][0] == 0.9
    right = found["image_right"] == 1
    assert right.shape == (11, 50) and np.allclose(right.mean(1), table["robust_accuracy"])
    assert np.allclose(table["robust_accuracy_se"], right.std(1, ddof=1) / 50**0.5)
    assert np.allclose(table["success"], 1 - table["robust_accuracy"] / 0.9)
    assert ((table["low"] <= table["robust_accuracy"]) & (table["robust_accuracy"] <= table["high"])).all()
    assert found["image_index"].tolist() == list(range(50)) and found["image_label"].tolist() == y.tolist()
    assert set(found.units) >= {"eps", "robust_accuracy", "success", "n"}
    worst = right[3:9].reshape(3, 2, 50).all(0) & right[1:3]
    assert np.array_equal(np.minimum.accumulate(worst), right[9:11])


def test_what_fools_within_a_smaller_budget_fools_within_a_larger_and_clean_accuracy_is_never_exceeded():
    specimen, (x, _) = residual(), labelled(40)
    found = flexure.robustness(specimen, (x, answers(specimen, x)), eps=[0.0003, 0.001, 0.003, 0.01], steps=2)
    for name in ("pgd", "pgd-margin"):
        right = found["image_right"][found["attack"] == name]
        assert (np.diff(right, axis=0) <= 0).all() and len(set(right.mean(1))) > 1
    assert (found["robust_accuracy"] <= found["clean_accuracy"]).all()


def test_images_that_are_wrong_at_first_do_not_count_as_robust_where_an_attack_makes_them_right():
    """The slope leads from where class 0 loses to where, beyond a step, it wins."""
    x = torch.full((2, 1, 1, 1), 0.5).double()

    class Hops(nn.Module):
        def forward(self, x):
            far = x.flatten(1) > 0.55
            a = torch.where(far, 1.0, -x.flatten(1))
            return torch.cat([a, torch.zeros_like(a)], 1)

    found = flexure.robustness(Specimen(Hops(), bounds=(0, 1)), (x, torch.tensor([0, 1])), eps=0.1, steps=2)
    assert rows(found, "fgsm")["clean_accuracy"][0] == 0.5 == rows(found, "fgsm")["robust_accuracy"][0]
    raised = checks(found, "flips")[0]
    assert raised["value"] == 0.5 and raised["fine"] is None and "do not count as robust" in raised["says"]


def test_what_a_larger_budget_steps_over_is_remembered_from_the_smaller():
    class Strip(nn.Module):
        """Wrong on a narrow strip alone, that long steps leap over."""

        def forward(self, x):
            x = x.flatten(1)
            f = torch.where((x - 0.55).abs() < 0.01, 1.0, x - 2)
            return torch.cat([torch.zeros_like(f), f], 1)

    data = torch.full((3, 1, 1, 1), 0.5).double(), torch.zeros(3, dtype=torch.int64)
    options = {"steps": 1, "step": 1.0, "starts": "clean"}
    found = flexure.robustness(Specimen(Strip(), bounds=(0, 1)), data, eps=[0.05, 0.2], **options)
    assert rows(found, "fgsm")["robust_accuracy"].tolist() == [0, 1]
    assert rows(found, "pgd")["robust_accuracy"].tolist() == [0, 0]


def test_normalization_is_part_of_the_network_and_budgets_are_in_pixels():
    mean, std = (0.3, 0.5, 0.6), (0.2, 0.25, 0.5)
    model = gauge.seeded(gauge.ResidualNet).double()
    shift, scale = (torch.tensor(part).double().view(1, 3, 1, 1) for part in (mean, std))
    inside = Around(model, lambda x: (x - shift) / scale)
    x, y = labelled(30)
    outside = flexure.robustness(Specimen(model, bounds=(0, 1), normalize=(mean, std)), (x, y), eps=[0.02], steps=3)
    found = flexure.robustness(Specimen(inside, bounds=(0, 1)), (x, y), eps=[0.02], steps=3)
    assert np.array_equal(found["image_right"], outside["image_right"])
    tens = Specimen(Around(inside, lambda x: x / 255), bounds=(0, 255))
    scaled = flexure.robustness(tens, (255 * x, y), eps=[0.02 * 255], steps=3)
    assert np.array_equal(scaled["image_right"], outside["image_right"])


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_make_no_difference(batch_size):
    specimen, (x, _) = residual(), labelled(12)
    data = (x, answers(specimen, x))
    whole = flexure.robustness(specimen, data, eps=[0.0005, 0.002], steps=3, batch_size=12)
    parts = flexure.robustness(specimen, data, eps=[0.0005, 0.002], steps=3, batch_size=batch_size)
    assert np.array_equal(parts["image_right"], whole["image_right"])
    assert parts.to_frame().equals(whole.to_frame())
    assert len(set(whole["robust_accuracy"])) > 1


def test_the_probe_counts_what_the_attack_finds():
    specimen, (x, _) = residual(), labelled(20)
    y = answers(specimen, x)
    found = flexure.robustness(specimen, (x, y), eps=0.005, steps=4, seed=2)
    attacked = pgd(specimen.model, x, y, torch.arange(20), eps=0.005, bounds=(0, 1), steps=4, seed=2)
    expected = (attacked.is_right & (answers(specimen, x) == y)).tolist()
    assert (found["image_right"][found["attack"] == "pgd"][0] == 1).tolist() == expected
    assert (margins(specimen.model(attacked.images), y) <= 0).tolist() == expected
    curve = found["by_step"]
    assert curve.shape == (2, 1, 5) and (np.diff(curve) <= 0).all()
    assert curve[0, 0, -1] == np.mean(expected)
    assert found.provenance["climbs"] == ["pgd", "pgd-margin"]


def test_an_fgsm_number_never_comes_without_one_of_pgd():
    specimen, data = residual(), labelled(6)
    found = flexure.robustness(specimen, data, eps=0.01, attacks=("fgsm",), steps=1)
    assert found["attack"].tolist() == ["clean", "sign-noise", "fgsm", "pgd", "worst"]
    assert not checks(found, "margin")


def test_the_panel_is_quiet_where_attacks_work():
    specimen = residual()
    x, _ = labelled(60)
    found = flexure.robustness(specimen, (x, answers(specimen, x)), eps=[0.01], steps=10)
    assert all(check["fine"] is not False for check in found.provenance["sanity"])
    assert found.notes == ()
    names = {check["check"] for check in found.provenance["sanity"]}
    assert names == {
        "zero-eps", "chance", "far", "zero-gradients", "gradient-size", "plain-pgd", "noise", "margin", "convergence",
        "flips",
    }  # fmt: skip
    assert checks(found, "zero-eps")[0]["value"] == 1 and checks(found, "far")[0]["value"] <= 0.05
    assert checks(found, "gradient-size")[0]["low"] < checks(found, "gradient-size")[0]["value"]


def test_a_network_that_always_gives_one_answer_is_not_called_robust():
    class Stubborn(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)) + 3, x.mean((1, 2, 3)) / 2], 1)

    x, _ = labelled(20)
    found = flexure.robustness(Specimen(Stubborn(), bounds=(0, 1)), (x, torch.arange(20) % 2), eps=[0.1], steps=2)
    assert checks(found, "far")[0]["fine"] is False is checks(found, "chance")[0]["fine"]
    assert found.notes == (
        "0.500 of the images are right as they are, 0.500 would be if the answer were always the same. What such a "
        "network withstands says nothing.",
    )


def test_a_network_so_sure_that_its_gradients_vanish_is_said_to_mask_them():
    model = gauge.seeded(lambda: gauge.linear(5)).float()
    model[1].weight.data *= 1e5
    x = gauge.images(60)
    specimen = Specimen(model, bounds=(0, 1))
    found = flexure.robustness(specimen, (x, answers(specimen, x)), eps=[0.3], steps=10)
    zeros, margin, far = (checks(found, name)[0] for name in ("zero-gradients", "margin", "far"))
    assert zeros["value"] > 0.9 and zeros["fine"] is False
    assert margin["fine"] is False and margin["value"] > 0.5
    assert far["fine"] is False
    assert rows(found, "pgd-margin")["robust_accuracy"][0] == 0 == rows(found, "worst")["robust_accuracy"][0]
    (warning,) = found.notes
    assert warning.startswith("Warning: signs of gradient masking.")
    assert "The gradient is exactly zero in every pixel of" in warning and "on the margin 0.000" in warning
    assert warning.endswith("rely on 'worst' alone, and try attacks that use no gradient.")
    fewer = flexure.robustness(specimen, (x, answers(specimen, x)), eps=[0.3], steps=10, attacks=["pgd"])
    assert fewer.notes[0].endswith("try the attack 'pgd-margin', or some without gradients.")


def test_a_gradient_that_points_the_wrong_way_is_noticed():
    """The network steps on a grid too fine to see; between its steps the slope is that of another function."""

    class Misleading(nn.Module):
        def forward(self, x):
            flat = x.flatten(1)
            f = flat.sum(1, keepdim=True) - 0.5 * flat.shape[1]
            return f.detach() - (f - f.detach())

    x = 0.45 + 0.1 * (gauge.images(40) > 0.5).float().mean((1, 2, 3), keepdim=True) * torch.ones(40, 3, 8, 8)
    y = (x.flatten(1).sum(1) > 96).long()
    found = flexure.robustness(Specimen(Misleading(), bounds=(0, 1)), (x, y), eps=[0.1], steps=4)
    noise = checks(found, "noise")[0]
    assert rows(found, "fgsm")["robust_accuracy"][0] == 1
    assert noise["fine"] is (noise["value"] <= 0.01)
    assert checks(found, "far")[0]["fine"] is False
    assert "gradient masking" in found.notes[0]


def test_steps_too_few_to_arrive_are_said_to_be_too_few():
    specimen = linear(2)
    x = 0.4 + 0.2 * gauge.images(60).double()
    y = answers(specimen, x)
    options = {"steps": 4, "step": 0.05, "starts": "clean"}
    found = flexure.robustness(specimen, (x, y), eps=[0.2], **options)
    late = checks(found, "convergence")[0]
    assert late["value"] > 0.01 and late["fine"] is False
    assert any(note.startswith("Not converged.") and "try steps=" in note for note in found.notes)
    assert late["value"] == pytest.approx(found["by_step"][0, 0, 3] - found["by_step"][0, 0, 4])


@pytest.mark.parametrize(
    ("specimen", "data", "status"),
    [
        (residual(), gauge.images(4).double(), "no labels"),
        (Specimen(nn.Identity(), bounds=(0, 1)), labelled(4), "the output is float32 3×8×8, not one number per class"),
        (residual(task="features"), labelled(4), "features, not one output per class"),
    ],
)
def test_what_cannot_be_measured_has_a_row_with_the_reason(specimen, data, status):
    found = flexure.robustness(specimen, data, eps=[0.1], steps=1)
    assert found["attack"].tolist() == ["clean", *ATTACKS]
    assert (found["status"] == status).all() and np.isnan(found["robust_accuracy"]).all() and (found["n"] == 0).all()
    assert not found.arrays and found.provenance["sanity"] == []


def test_images_without_label_or_use_are_left_out_and_counted():
    specimen, (x, y) = residual(), labelled(20)
    y[:4] = -1
    x[7] = torch.nan
    found = flexure.robustness(specimen, (x, y), eps=[0.01], steps=2, batch_size=4)
    assert (found["n"] == 15).all() and 7 not in found["image_index"]
    assert "1 of 20 images could not be used and are left out (image 7: non-finite pixels)." in found.notes
    assert "4 of 20 images have no label and are left out." in found.notes
    with pytest.raises(DataError, match=r"none of its 2 images can be used \(image 0: non-finite pixels\)"):
        flexure.robustness(specimen, (torch.full((2, 3, 8, 8), torch.nan), torch.zeros(2).long()), eps=0.1)


def test_outputs_that_an_attack_makes_infinite_are_named():
    class Breaks(nn.Module):
        """Its output breaks where the first pixel, if it is bright, is no longer what it was."""

        def __init__(self):
            super().__init__()
            self.own = gauge.seeded(gauge.ResidualNet).double()

        def forward(self, x):
            pixel = x[:, :1, 0, 0]
            return torch.where((pixel > 0.7) & ((pixel - 0.9).abs() > 0.04), torch.inf, self.own(x))

    x, y = labelled(12)
    x[:, 0, 0, 0] = 0.5
    x[[4, 9], 0, 0, 0] = 0.9
    found = flexure.robustness(Specimen(Breaks(), bounds=(0, 1)), (x, y), eps=[0.03, 0.05], steps=1)
    assert (found.to_frame()["status"][found["eps"] < 0.05] == MEASURED).all()
    broken = found.to_frame()[found["eps"] == 0.05]
    assert (broken["status"] == "non-finite at image 4 and 1 more").all() and (broken["n"] == 10).all()
    assert np.isnan(broken["robust_accuracy"]).all() and found.provenance["sanity"] == []


def test_a_single_output_is_judged_by_its_sign():
    specimen = linear(1)
    x, _ = labelled(10)
    with torch.no_grad():
        y = (specimen.model(x).flatten() > 0).long()
    found = flexure.robustness(specimen, (x, y), eps=[0.001], steps=1)
    assert rows(found, "clean")["robust_accuracy"][0] == 1
    assert "One output: its sign is the class; attacks climb the logistic loss." in found.notes


def test_passes_are_counted_beforehand_and_are_those_that_are_made():
    passed = []
    specimen, (x, y) = residual(), labelled(10)
    specimen.model.register_forward_hook(lambda module, args, value: passed.append(len(value)))
    for options in ({}, {"starts": ("random", "random", "fgsm")}, {"attacks": ("pgd",), "eps": [0.01, 0.1]}):
        passed.clear()
        options = {"eps": [0.1], "steps": 3, **options}
        found = flexure.robustness(specimen, (x, y), **options)
        passes, _ = PROBES["robustness"].cost(options, 10)
        others = 1 + 8 + 3 * 8  # does a gradient lead through; what are the outputs; are they steady
        assert sum(passed) - others == 10 * passes == found.provenance["passes"]["rows"]
    assert PROBES["robustness"].cost({"eps": 0.1}, 10) == (2 + (1 + 1 + 2 * (3 * 41 + 1)) + 41,) * 2


def test_a_result_comes_back_from_disk(tmp_path):
    found = flexure.robustness(residual(), labelled(6), eps=[0.01], steps=1)
    again = Result.load(found.save(tmp_path))
    assert again.to_frame().equals(found.to_frame()) and again.provenance["sanity"] == found.provenance["sanity"]
    assert np.array_equal(again["image_right"], found["image_right"])


def test_examine_asks_it_by_name(tmp_path):
    specimen, data = residual(), labelled(6)
    options = {"robustness": {"eps": [0.01], "steps": 1}}
    run = flexure.examine(specimen, data, probes=["robustness"], options=options, out=tmp_path / "run", dtype="float64")
    assert len(run["robustness"]) == 6 and "robustness" not in flexure.examine(specimen, data).results
