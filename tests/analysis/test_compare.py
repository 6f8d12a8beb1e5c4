"""Many networks in one comparison: what counts, what is left out and why, and what does not matter."""

import numpy as np
import pandas as pd
import pytest
import yaml
from analysis.many import accuracy, column, law, reordered, run, sensitivity

import flexure
from flexure.analysis.compare import compare
from flexure.errors import ArgumentError, RunError
from flexure.results import Result, Run

NUMBERS = [f"{name}{end}" for name in ("exponent", "correlation") for end in ("", "_se", "_low", "_high")]


def test_an_exact_power_law_over_networks_is_found():
    found = compare(law(12, exponent=0.5))
    assert column(found, "exponent") == pytest.approx(0.5) and column(found, "prefactor") == pytest.approx(0.1)
    assert column(found, "correlation") == pytest.approx(1) and column(found, "status") == "measured"
    assert (column(found, "n"), column(found, "families"), column(found, "left_out")) == (12, 4, 0)
    assert list(found["quantity"]) == ["D", "G", "R"] and list(found["corruption"]) == [0, 0, 0]
    assert column(compare(law(12, exponent=-0.5)), "correlation") == pytest.approx(-1)


def test_every_estimate_has_an_error_and_an_interval_around_it():
    table = compare(law(14, exponent=0.5, scatter=0.3)).to_frame()
    for name in ("exponent", "prefactor", "correlation"):
        assert (table[f"{name}_se"] > 0).all()
        assert (table[f"{name}_low"] < table[name]).all() and (table[name] < table[f"{name}_high"]).all()


def test_order_of_the_runs_changes_nothing():
    runs = law(13, exponent=0.5, scatter=0.4)
    one, other = compare(runs), compare(reordered(runs, 1))
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame())
    assert all(np.array_equal(one[name], other[name]) for name in one.arrays)
    assert one.provenance["networks"] == other.provenance["networks"]


def test_scaling_a_quantity_changes_the_prefactor_alone():
    runs = law(13, exponent=0.5, scatter=0.4)
    scaled = [
        Run(each.name, each.spec, {}, {**each.results, "sensitivity": _scaled(each["sensitivity"], 100)})
        for each in runs
    ]
    one, other = compare(runs).to_frame(), compare(scaled).to_frame()
    np.testing.assert_allclose(one[NUMBERS], other[NUMBERS], rtol=1e-9)
    np.testing.assert_allclose(other["prefactor"], one["prefactor"] / 100.0 ** one["exponent"])


def _scaled(result, factor):
    table = result.to_frame()
    table[[name for name in table if name[0] in "DGR"]] *= factor
    return Result("sensitivity", result.question, table, provenance=dict(result.provenance))


def test_the_points_can_be_drawn_and_listed():
    runs = law(7, exponent=0.5, scatter=0.2)
    found = compare(runs)
    names = [network["name"] for network in found.provenance["networks"]]
    assert sorted(names) == sorted(each.name for each in runs)
    for place, r, r_se, error in zip(*(found[f"point_{n}"] for n in ("network", "R", "R_se", "error")), strict=True):
        each = next(each for each in runs if each.name == names[place])
        row = each["sensitivity"].to_frame().iloc[-1]
        assert (r, r_se, error) == (row["R"], row["R_se"], each["accuracy"]["error"][0])
    assert {network["family"] for network in found.provenance["networks"]} == {"vgg", "resnet", "lenet", "alexnet"}


def test_networks_without_a_probe_are_named_and_left_out():
    runs = law(8, exponent=0.5)
    bare = Run("bare", {}, {}, {})
    half = Run("half", {}, {}, {"sensitivity": runs[0]["sensitivity"]})
    blank = Run(
        "blank", {}, {}, {"sensitivity": sensitivity(dict.fromkeys("DGR", np.nan)), "accuracy": accuracy({0: 0.1})}
    )
    found = compare([*runs, bare, half, blank])
    assert column(found, "n") == 8
    assert "Left out, no result of sensitivity: bare." in found.notes
    assert "Left out, no result of accuracy or training: half." in found.notes
    assert "Left out, D, G, R at 'output' not measured (measured): blank." in found.notes
    assert [one["name"] for one in found.provenance["left_out"]] == ["bare", "half", "blank"]


def test_nothing_to_compare_is_a_status_not_an_error():
    found = compare([Run("bare", {}, {}, {})])
    assert list(found["status"]) == ["0 networks; at least 3 are needed"] * 3
    assert np.isnan(found["exponent"]).all() and len(found["point_R"]) == 0


def test_fewer_than_three_are_not_fitted_and_fewer_than_five_have_no_interval():
    assert column(compare(law(2, exponent=0.5)), "status") == "2 networks; at least 3 are needed"
    found = compare(law(4, exponent=0.5, scatter=0.1))
    assert column(found, "status") == "no interval from 4 networks (at least 5 are needed)"
    assert np.isfinite(column(found, "exponent")) and np.isnan(column(found, "correlation_low"))


def test_a_quantity_that_is_the_same_everywhere_has_no_exponent():
    runs = [run("VGG11", i, {"D": 0.1 * 1.1**i, "G": 0.5, "R": 1.1**i}, 0.1 * 1.2**i) for i in range(6)]
    found = compare(runs)
    assert column(found, "status", "G") == "G is the same for all networks"
    assert column(found, "status", "R") == "measured"
    one = [run("VGG11", i, {"R": 2.0 if i else 1.0}, 0.1 * 1.2**i) for i in range(6)]
    assert column(compare(one, x="R"), "status") == "no error of the line: R is the same for all networks but one"
    same = [run("VGG11", i, {"R": 1.1**i}, 0.25) for i in range(6)]
    assert column(compare(same, x="R"), "status") == "the test error is the same for all networks"


def test_a_network_without_errors_has_no_log_and_is_counted():
    runs = [*law(8, exponent=0.5), run("Perfect", 0, {"D": 0.1, "G": 1.0, "R": 0.1}, 0.0)]
    found = compare(runs)
    assert (column(found, "n"), column(found, "left_out")) == (8, 1)
    assert "No error at all at corruption 0, so no log; left out there: Perfect-0-0." in found.notes
    assert column(found, "exponent") == pytest.approx(0.5)
    twice = [*law(8, exponent=0.5), run("Perfect", 0, {"D": 0.1, "G": 1.0, "R": 0.1}, {0.0: 0.0, 1.0: 0.0})]
    together = compare(twice, corruption="all", by=None)
    assert "No error at all, so no log; left out there: Perfect-0-0." in together.notes


def test_one_family_is_said_to_be_one():
    runs = [run(f"VGG{11 + i}", 0, {"R": 1.1**i}, 0.1 * 1.05**i) for i in range(6)]
    found = compare(runs, x="R")
    assert column(found, "families") == 1
    assert "All networks are of one family (vgg)." in found.notes


def test_each_corruption_level_is_a_fit_of_its_own():
    low, high = law(8, exponent=0.5), law(8, exponent=1.5, corruption=30, seed=1)
    table = compare(reordered([*low, *high], 2), x="R").to_frame()
    assert list(table["corruption"]) == [0, 30]
    np.testing.assert_allclose(table["exponent"], [0.5, 1.5])
    together = compare([*low, *high], x="R", by=None)
    assert len(together) == 1 and np.isnan(column(together, "corruption")) and column(together, "n") == 16


def test_levels_of_one_network_are_not_networks_of_their_own():
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(size=8))
    errors = 0.1 * values**0.5 * np.exp(0.3 * rng.normal(size=8))
    once = [run(f"VGG{i}", 0, {"R": r}, {0.0: error}) for i, (r, error) in enumerate(zip(values, errors, strict=True))]
    four = [
        run(f"VGG{i}", 0, {"R": r}, dict.fromkeys((0.0, 1.0, 2.0, 3.0), error))
        for i, (r, error) in enumerate(zip(values, errors, strict=True))
    ]
    one, other = (compare(runs, x="R", corruption="all", by=None) for runs in (once, four))
    assert (column(one, "n"), column(other, "n")) == (8, 32)
    for name in ("exponent", "prefactor", "correlation"):
        assert column(other, f"{name}_se") == pytest.approx(column(one, f"{name}_se"), rel=0.2)
        width = column(one, f"{name}_high") - column(one, f"{name}_low")
        assert column(other, f"{name}_high") - column(other, f"{name}_low") == pytest.approx(width, rel=0.2)
    few = compare(four[:2], x="R", corruption="all", by=None)
    assert column(few, "status") == "2 networks; at least 3 are needed"
    assert "no interval from 4" in column(compare(four[:4], x="R", corruption="all", by=None), "status")


def test_errors_at_other_levels_than_that_of_training_can_be_asked_for():
    rng = np.random.default_rng(0)
    runs = [
        run("VGG11", i, {"R": r}, {0.0: 0.1 * r**0.5, 10.0: 0.2 * r, 30.0: 0.3 * r**2}, corruption=10)
        for i, r in enumerate(np.exp(rng.normal(size=7)) / 10)
    ]
    assert list(compare(runs, x="R")["corruption"]) == [10]
    np.testing.assert_allclose(compare(runs, x="R", corruption="all")["exponent"], [0.5, 1, 2])
    assert compare(runs, x="R", corruption=30).to_frame().equals(compare(runs, x="R", corruption=[30.0]).to_frame())
    np.testing.assert_allclose(compare(runs, x="R", corruption=[30, 0])["exponent"], [0.5, 2])
    assert column(compare(runs, x="R", corruption=[3]), "n") == 0
    assert "Left out, no test error at the corruption asked for" in compare(runs, x="R", corruption=[3]).notes[0]
    np.testing.assert_allclose(compare(runs, x="R", error="loss")["prefactor"], 2 * 0.2)


def test_an_accuracy_at_other_levels_alone_leaves_a_network_out():
    runs = [run("VGG11", i, {"R": 1.0 + i}, {0.0: 0.1}, corruption=10) for i in range(3)]
    assert (
        "Left out, no test error at corruption 10, at which it was trained: VGG11-0-10" in compare(runs, x="R").notes[0]
    )


@pytest.mark.parametrize(("measure", "expected"), [("last", 0.3), ("best", 0.2)])
def test_without_accuracy_the_training_says_the_error_of_the_weights_that_were_measured(measure, expected):
    table = pd.DataFrame({"epoch": [1, 2, 3], "test_accuracy": [0.5, 0.8, 0.7], "test_accuracy_se": 0.01})
    table["test_loss"], table["test_loss_se"] = [3.0, 1.0, 2.0], 0.1
    spec = {"net": "VGG11", "measure": measure}
    results = {"sensitivity": sensitivity({"R": 0.2}), "training": Result("training", "How?", table)}
    one = Run("one", spec, {}, results)
    assert compare([one], x="R")["point_error"] == pytest.approx([expected])
    assert compare([one], x="R")["point_error_se"] == pytest.approx([0.01])
    assert compare([one], x="R", error="loss")["point_error"] == [1.0 if measure == "best" else 2.0]


def test_a_training_on_corrupted_images_has_tested_on_clean_ones():
    table = pd.DataFrame({"epoch": [1], "test_accuracy": [0.5], "test_accuracy_se": 0.01})
    results = {"sensitivity": sensitivity({"R": 0.2}), "training": Result("training", "How?", table)}
    one = Run("one", {"net": "VGG11", "corruption": 30.0}, {}, results)
    for measured in (one, Run("one", one.spec, {}, {**results, "accuracy": accuracy({10.0: 0.1})})):
        note = compare([measured], x="R").notes[0]
        assert note == "Left out, no test error at corruption 30, at which it was trained: one."
    for levels in ("all", 0):
        assert compare([one], x="R", corruption=levels)["point_corruption"] == [0.0]


def test_seeds_can_be_averaged_to_one_point_per_kind_of_network():
    runs = law(18, exponent=0.5, scatter=0.2)
    each, mean = compare(runs), compare(runs, seeds="mean")
    assert (column(each, "n"), column(mean, "n")) == (18, 6)
    assert "18 of the 18 points differ from another only in their seed" in each.notes[0] and not mean.notes
    networks = mean.provenance["networks"]
    place = [network["name"] for network in networks].index("LeNet")
    assert networks[place]["seeds"] == 3 and networks[place]["seed"] is None
    logs = np.log([one["sensitivity"]["R"][-1] for one in runs if one.spec["net"] == "LeNet"])
    (at,) = np.flatnonzero(mean["point_network"] == place)
    assert mean["point_R"][at] == pytest.approx(np.exp(logs.mean()))
    assert mean["point_R_se"][at] == pytest.approx(np.exp(logs.mean()) * logs.std(ddof=1) / np.sqrt(3))


def test_networks_of_other_sizes_or_training_sets_are_not_averaged_with_one_another():
    runs = [run("VGG11", 0, {"R": 1.0 + i}, 0.1 * (1 + i), limit=limit) for i, limit in enumerate((100, 200, 100))]
    assert len(compare(runs, x="R", seeds="mean")["point_R"]) == 2


def test_several_checkpoints_are_not_seeds_of_one_network():
    each = [run("VGG11", 0, {"R": 1.0 + i}, 0.1 * (1 + i)).results for i in range(5)]
    files = [Run(f"{i}", {"model": "VGG11", "seed": i, "weights": f"{i}.pt"}, {}, each[i]) for i in range(5)]
    objects = [Run("VGG", {"model": "VGG", "seed": 0}, {}, with_weights(each[i], f"{i}")) for i in range(5)]
    for runs in (files, objects):
        found = compare(runs, x="R", seeds="mean")
        assert column(found, "n") == 5 and not [note for note in found.notes if "seed" in note]
        assert sorted(found["point_network"]) == [0, 1, 2, 3, 4]


def test_a_checkpoint_that_was_measured_twice_is_one_network():
    each = [run("VGG11", 0, {"R": 1.0 + i % 5}, 0.1 * (1 + i)).results for i in range(10)]
    runs = [Run(f"{i}", {"model": "VGG", "seed": i}, {}, with_weights(each[i], f"{i % 4}")) for i in range(10)]
    assert "no interval from 4 networks" in column(compare(runs, x="R"), "status")
    assert column(compare(runs, x="R", seeds="mean"), "n") == 4


def with_weights(results, name):
    sensitivity = results["sensitivity"]
    about = {**sensitivity.provenance, "specimen": {"weights_hash": name}}
    return {**results, "sensitivity": Result("sensitivity", "How far?", sensitivity.to_frame(), provenance=about)}


def test_networks_that_were_trained_from_other_starts_with_other_seeds_are_averaged():
    runs = [run("VGG11", i, {"R": 1.0 + i}, 0.1 * (1 + i), weights_hash=f"start-{i}") for i in range(5)]
    assert len(compare(runs, x="R", seeds="mean")["point_R"]) == 1


def test_the_share_of_the_spread_that_is_error_of_measurement_is_told():
    runs = [run("VGG11", i, {"R": 1.5**i}, 0.01 * 1.2**i, noise=0.1) for i in range(8)]
    found = compare(runs, x="R")
    variance = np.var(np.arange(8) * np.log(1.5), ddof=1)
    assert column(found, "x_noise") == pytest.approx(0.1**2 / variance)
    assert column(found, "error_noise") > 0


def test_networks_that_were_measured_in_other_ways_are_noted():
    runs = law(6, exponent=0.5)
    other = sensitivity({"D": 0.1, "G": 0.2, "R": 0.5}, settings={"displacement": 2.0})
    runs[0] = Run(runs[0].name, runs[0].spec, {}, {**runs[0].results, "sensitivity": other})
    assert "The networks were not all measured alike: displacement 1 or 2." in compare(runs).notes


def test_any_column_and_any_layer_can_be_compared():
    runs = [run("VGG11", i, {"R": 1.0, "R_init": 1.1**i}, 0.1 * 1.1**i) for i in range(5)]
    assert column(compare(runs, x="R_init"), "exponent", "R_init") == pytest.approx(1)
    assert column(compare(runs, x=["R"], layer="conv1"), "status") == "R is the same for all networks"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"x": "S"}, "no quantity 'S' in the runs' sensitivity. .*Valid: D, D_se, G"),
        ({"x": ()}, "x names no quantity"),
        ({"layer": "outptu"}, "no layer 'outptu' in any of the runs. Did you mean 'output'"),
        ({"error": "errors"}, "no error 'errors'. Did you mean 'error'"),
        ({"seeds": "all"}, "no seeds 'all'"),
        ({"by": "corruptions"}, "no by 'corruptions'. Did you mean 'corruption'"),
        ({"corruption": "train"}, "no corruption 'train'. Did you mean 'trained'"),
        ({"corruption": None}, "corruption must be 'trained', 'all', a level or several; got None"),
        ({"corruption": ["30"]}, "corruption must be .* got \\['30'\\]"),
        ({"bootstrap": 10}, "bootstrap must be a whole number of at least 100; got 10"),
    ],
)
def test_names_and_numbers_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        compare(law(5, exponent=0.5), **options)


def test_one_run_or_none_is_refused_in_words(tmp_path):
    with pytest.raises(ArgumentError, match="compare: no runs"):
        compare([])
    with pytest.raises(ArgumentError, match="expected several runs or folders of runs; got one"):
        compare(str(tmp_path))
    with pytest.raises(RunError, match="holds no run"):
        compare([tmp_path])


def test_folders_are_read_and_a_saved_comparison_is_a_run_with_a_page(tmp_path):
    runs = law(6, exponent=0.5, scatter=0.1)
    folders = []
    for each in runs:
        folder = tmp_path / each.name
        for result in each.results.values():
            result.save(folder)
        (folder / "spec.yaml").write_text(yaml.safe_dump(dict(each.spec)))
        folders.append(folder)
    found = compare(folders)
    pd.testing.assert_frame_equal(found.to_frame(), compare(runs).to_frame())
    again = Result.load(found.save(tmp_path / "all"))
    pd.testing.assert_frame_equal(again.to_frame(), found.to_frame())
    page = flexure.report(Run("all", {}, {}, {"compare": again}), to=tmp_path / "page.html")
    assert "LeNet" in page.read_text(encoding="utf-8")
