"""Fuzziness of weights: numbers by hand, chance, steps and shuffles, series, and what cannot be measured."""

import math

import gauge
import numpy as np
import pandas as pd
import pytest
import torch
from reference.fuzziness import INDEX, interval_of
from scipy import stats
from torch import nn

import flexure
from flexure.errors import ArgumentError, SpecimenError
from flexure.formulas.fuzziness import INDICES
from flexure.formulas.null_layers import LAWS
from flexure.formulas.sparsity import hoyer, l1_minus_l2, near_zero_share
from flexure.models import save_weights
from flexure.results import MEASURED, Result


def conv(weight):
    """A convolution with exactly these filters."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], tuple(weight.shape[2:]), bias=False).to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def fresh(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.Conv2d(6, 16, 5), nn.Flatten(), nn.Linear(16, 3)).to(dtype)


@pytest.mark.parametrize("kind", ["minmax", "symmetric", "abs", "quantile"])
def test_every_index_is_that_of_the_plain_reference(kind):
    weight = 0.1 * normal(4, 3, 3, 3) + 0.02
    table = flexure.fuzziness(conv(weight), interval=kind, index=list(INDICES)).table
    low, high = interval_of(weight.flatten().tolist(), kind)
    values = weight.abs() if kind == "abs" else weight
    mu = ((values - low) / (high - low)).flatten()
    clipped = mu.clamp(0, 1).tolist()
    for row, name in zip(table.itertuples(), INDICES, strict=True):
        assert row.fuzziness == pytest.approx(INDEX[name](clipped), rel=1e-12)
        assert (row.low, row.high) == (pytest.approx(low), pytest.approx(high))
        assert row.center_distance_raw == pytest.approx((2 * mu - 1).abs().mean().item())
        assert row.center_distance == pytest.approx((2 * mu.clamp(0, 1) - 1).abs().mean().item())
        assert row.beyond == pytest.approx(((2 * mu - 1).abs() > 0.8).double().mean().item())
        assert (row.kept, row.n, row.status) == (1, 108, MEASURED)


@pytest.mark.parametrize(("scope", "axes"), [("filter", 1), ("kernel", 2)])
def test_filters_and_kernels_have_intervals_of_their_own(scope, axes):
    weight = normal(5, 4, 3, 3)
    table = flexure.fuzziness(conv(weight), interval={"minmax": {"scope": scope}}).table
    sets = weight.flatten(axes).flatten(0, axes - 1).tolist()
    mus, ends = [], []
    for own in sets:
        low, high = min(own), max(own)
        ends.append((low, high))
        mus += [(w - low) / (high - low) for w in own]
    row = table.iloc[0]
    assert row["fuzziness"] == pytest.approx(INDEX["de_luca_termini"](mus), rel=1e-12)
    assert (row["low"], row["high"]) == tuple(pytest.approx(np.mean(end)) for end in zip(*ends, strict=True))
    assert (row["interval"], row["scope"]) == ("minmax", scope)


def test_more_weights_than_are_worked_on_at_a_time_are_no_different():
    weight = normal(96, 80, 3, 3)
    table = flexure.fuzziness(conv(weight), interval=["minmax", {"quantile": {"scope": "filter"}}]).table
    mu = (weight - weight.min()) / (weight.max() - weight.min())
    terms = -(torch.special.xlogy(mu, mu) + torch.special.xlogy(1 - mu, 1 - mu)) / math.log(2)
    assert table["fuzziness"][0] == pytest.approx(terms.mean().item(), rel=1e-12)
    assert table["fuzziness_se"][0] == pytest.approx(terms.std().item() / terms.numel() ** 0.5, rel=1e-9)
    assert table["center_distance_se"][0] == pytest.approx(
        (2 * mu - 1).abs().std().item() / mu.numel() ** 0.5, rel=1e-9
    )
    low, high = (weight.flatten(1).quantile(q, 1)[:, None, None, None] for q in (0.05, 0.95))
    mu = ((weight - low) / (high - low)).clamp(0, 1)
    terms = -(torch.special.xlogy(mu, mu) + torch.special.xlogy(1 - mu, 1 - mu)) / math.log(2)
    assert table["fuzziness"][1] == pytest.approx(terms.mean().item(), rel=1e-12)


@pytest.mark.parametrize(
    "interval", ["init", "minmax", "abs", "symmetric", "quantile", {"minmax": {"scope": "filter"}}]
)
def test_networks_at_their_initialization_lie_where_uniform_layers_do(interval):
    inside, distances = [], []
    for seed in range(40):
        table = flexure.fuzziness(fresh(seed), interval=interval).table
        inside += table["fuzziness"].between(table["fuzziness_uniform_low"], table["fuzziness_uniform_high"]).tolist()
        near = (table["center_distance_uniform_low"], table["center_distance_uniform_high"])
        distances += table["center_distance"].between(*near).tolist()
    for found in (inside, distances):
        assert abs(np.mean(found) - 0.95) <= 4 * math.sqrt(0.95 * 0.05 / len(found)) + 0.01
    if interval == "init":
        assert table["fuzziness_uniform"].tolist() == pytest.approx([0.7213, 0.7213], abs=0.02)


@pytest.mark.parametrize("law", LAWS)
def test_layers_drawn_from_a_law_lie_in_the_interval_of_that_law(law):
    generators = [torch.Generator().manual_seed(seed) for seed in range(60)]
    layers = nn.Sequential(*(conv(LAWS[law].draw((8, 6, 5, 5), generator) * 0.05) for generator in generators))
    table = flexure.fuzziness(layers, interval=[{"fixed": {"r": 0.08}}, "minmax", "abs"]).table
    inside = table["fuzziness"].between(table[f"fuzziness_{law}_low"], table[f"fuzziness_{law}_high"])
    shares = inside.groupby(table["interval"]).mean()
    assert len(shares) == 3 and ((shares - 0.95).abs() <= 4 * math.sqrt(0.95 * 0.05 / 60)).all()


def test_magnitudes_are_those_of_the_formulas_and_of_scipy():
    weight = normal(6, 5, 3, 3) ** 3 + 0.3
    row = flexure.fuzziness(conv(weight)).table.iloc[0]
    assert row["kurtosis"] == pytest.approx(stats.kurtosis(weight.flatten().numpy()), rel=1e-10)
    assert row["hoyer"] == pytest.approx(hoyer(weight).item(), rel=1e-10)
    assert row["l1_l2"] == pytest.approx(l1_minus_l2(weight).item(), rel=1e-10)
    assert row["near_zero"] == near_zero_share(weight).item()
    assert row["rms"] == pytest.approx(weight.square().mean().sqrt().item(), rel=1e-12)


def test_standard_errors_say_how_far_layers_drawn_alike_differ():
    layers = nn.Sequential(*(conv(0.1 * normal(8, 5, 5, 5, seed=seed)) for seed in range(250)))
    table = flexure.fuzziness(layers, index="yager").table
    for name in ("fuzziness", "center_distance", "center_distance_raw", "beyond", "kurtosis", "hoyer", "l1_l2"):
        spread, claimed = table[name].var(), (table[f"{name}_se"] ** 2).mean()
        assert abs(spread / claimed - 1) <= 4 * math.sqrt(2 / 249) + 0.05, name


def trained(before, growth, seed=1):
    """A network whose weights have grown along their sign by a share, and moved at random."""
    after = fresh()
    after.load_state_dict(before.state_dict())
    with torch.no_grad():
        for i in (0, 2):
            w = after[i].weight
            w += growth * w.sign() * w.abs().mean() + 0.3 * w.std() * normal(*w.shape, seed=seed + i)
    return after


def test_what_changed_is_told_weight_by_weight():
    before = fresh()
    after = trained(before, 0.5)
    table = flexure.fuzziness(after, before=before).table
    own = flexure.fuzziness(before).table
    np.testing.assert_allclose(table["fuzziness_before"], own["fuzziness"], rtol=1e-12)
    np.testing.assert_allclose(table["fuzziness_before_se"], own["fuzziness_se"], rtol=1e-9)
    np.testing.assert_allclose(table["center_distance_raw_before"], own["center_distance_raw"], rtol=1e-12)
    np.testing.assert_allclose(table["fuzziness_change"], table["fuzziness"] - own["fuzziness"], rtol=1e-9)
    for row, i in zip(table.itertuples(), (0, 2), strict=True):
        w0, w1 = (net[i].weight.detach().numpy().ravel() for net in (before, after))
        step, n = w1 - w0, w0.size
        assert row.grown == np.mean(np.abs(w1) > np.abs(w0)) and row.moved == 1
        assert row.grown_se == pytest.approx(math.sqrt(row.grown * (1 - row.grown) / (n - 1)))
        assert row.drift == pytest.approx(np.sum(np.sign(w0) * step) / np.sum(np.abs(step)), rel=1e-10)
        gap = np.sign(w0) * step - row.drift * np.abs(step)
        assert row.drift_se == pytest.approx(gap.std(ddof=1) / np.abs(step).mean() / n**0.5, rel=1e-9)
        assert row.correlation == pytest.approx(np.corrcoef(w0, step)[0, 1], rel=1e-9)
        mus = [np.clip(w * before[i].weight[0].numel() ** 0.5 / 2 + 0.5, 0, 1) for w in (w0, w1)]
        f0, f1 = (np.array([INDEX["de_luca_termini"]([m]) for m in mu]) for mu in mus)
        assert row.fuzziness_change == pytest.approx((f1 - f0).mean(), rel=1e-8)
        assert row.fuzziness_change_se == pytest.approx((f1 - f0).std(ddof=1) / n**0.5, rel=1e-8)


@pytest.mark.parametrize("as_what", ["network", "specimen", "state dict", "file"])
def test_weights_before_may_be_given_in_any_form(as_what, tmp_path):
    before, after = fresh(dtype=torch.float32), fresh(1, dtype=torch.float32)
    save_weights(before.state_dict(), tmp_path / "before.safetensors")
    given = {
        "network": before,
        "specimen": flexure.Specimen(before),
        "state dict": before.state_dict(),
        "file": tmp_path / "before.safetensors",
    }[as_what]
    found = flexure.fuzziness(after, before=given, interval=["init", "init_minmax"]).table
    expected = flexure.fuzziness(after, before=before, interval=["init", "init_minmax"]).table
    pd.testing.assert_frame_equal(found, expected)
    w = before[0].weight
    assert (found["low"][1], found["high"][1]) == (w.min().item(), w.max().item())


def test_more_than_growth_of_the_norm_lies_below_the_shuffles_and_random_steps_do_not():
    before = fresh()
    directed = flexure.fuzziness(trained(before, 0.6), before=before, shuffle_draws=40).table
    assert (directed["excess"] < -4 * directed["excess_se"]).all() and (directed["p_value"] == 1 / 41).all()
    assert (directed["grown"] > directed["grown_shuffled"]).all() and (directed["drift"] > 0.3).all()
    values = []
    for seed in range(30):
        random = flexure.fuzziness(
            trained(before, 0.0, seed=100 * seed + 5), before=before, shuffle_draws=40, seed=seed
        )
        values += random["p_value"].tolist()
        z = random["excess"] / random["excess_se"]
        assert (np.abs(z) < 5).all()
    assert stats.kstest(values, "uniform").pvalue > 6e-5


def test_shuffles_are_of_the_same_steps_and_depend_on_the_seed_alone():
    before, after = fresh(), trained(fresh(), 0.5)
    one, same, other = (
        flexure.fuzziness(after, before=before, shuffle_draws=20, seed=seed).table for seed in (0, 0, 1)
    )
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert (one["fuzziness_shuffled"] != other["fuzziness_shuffled"]).all()
    gap = (one["fuzziness_shuffled"] - other["fuzziness_shuffled"]).abs()
    assert (gap <= 4 * np.hypot(one["fuzziness_shuffled_se"], other["fuzziness_shuffled_se"])).all()
    still = flexure.fuzziness(before, before=before, shuffle_draws=20).table
    assert (still["excess"] == 0).all() and (still["moved"] == 0).all() and still["drift"].isna().all()


def test_large_layers_are_shuffled_by_100_000_weights_and_that_is_said():
    before, after = conv(normal(120, 100, 3, 3)), conv(normal(120, 100, 3, 3) * 1.5)
    found = flexure.fuzziness(after, before=before, interval=["minmax", {"fixed": {"r": 2.0}}], shuffle_draws=20)
    assert found["n"][0] == 108_000 and found["n_shuffled"].tolist() == [99_900] * 2
    assert found.notes == ("Shuffles are of 100,000 weights, drawn by whole filters, in layers that have more.",)
    wide = nn.Linear(120_000, 2, bias=False)
    shuffled = flexure.fuzziness(wide, before=nn.Linear(120_000, 2), layers="*", shuffle_draws=20)
    assert shuffled["n_shuffled"][0] == 100_000


def test_a_series_of_checkpoints_has_rows_for_each():
    before, after = fresh(), trained(fresh(), 0.5)
    series = {0: before.state_dict(), 100: trained(before, 0.2), 200: after}
    found = flexure.fuzziness(after, checkpoints=series)
    table = found.table
    assert table["step"].tolist() == [0, 0, 100, 100, 200, 200] and next(iter(table)) == "step"
    single = flexure.fuzziness(after, before=before).table
    pd.testing.assert_frame_equal(table[table["step"] == 200].drop(columns="step").reset_index(drop=True), single)
    assert (table["fuzziness_change"][:2] == 0).all() and found.provenance["checkpoints"] == [0, 100, 200]


def test_any_weight_is_read_when_asked():
    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose2d(4, 6, 3), nn.Flatten(), nn.Linear(12, 5), nn.LSTM(5, 7))
    assert flexure.fuzziness(net)["layer"].tolist() == ["0"]
    found = flexure.fuzziness(net, layers="*").table
    assert found["layer"].tolist() == ["0", "2", "3.weight_ih_l0", "3.weight_hh_l0"]
    assert found["high"].tolist() == pytest.approx([54**-0.5, 12**-0.5, 7**-0.5, 7**-0.5])
    inside = found["fuzziness"].between(found["fuzziness_uniform"] - 0.05, found["fuzziness_uniform"] + 0.05)
    assert inside.all() and (found["fuzziness"] - 0.7213).abs().max() < 0.15


def test_a_layer_whose_interval_is_a_point_reports_what_is_kept():
    weight = normal(4, 2, 3, 3)
    weight[1] = 0.3
    found = flexure.fuzziness(conv(weight), interval={"minmax": {"scope": "filter"}}).table.iloc[0]
    assert found["kept"] == 0.75 and found["status"] == MEASURED and 0 < found["fuzziness"] < 1
    table = flexure.fuzziness(nn.Conv2d(3, 4, 1), interval={"minmax": {"scope": "kernel"}}).table
    assert table["status"][0] == "every interval is a point: nothing lies in it"
    assert table["kept"][0] == 0 and math.isnan(table["fuzziness"][0]) and math.isnan(table["fuzziness_uniform"][0])
    zeros = flexure.fuzziness(conv(torch.zeros(2, 2, 3, 3)), interval=["init", "abs"]).table
    assert zeros["fuzziness"][0] == 1 and zeros["status"][1].startswith("every interval is a point")


@pytest.mark.parametrize(
    ("weight", "status"),
    [
        (torch.full((2, 2, 3, 3), torch.nan), "non-finite weights: 36 of 36"),
        (torch.tensor([[[[1.0, torch.inf]]]]), "non-finite weights: 1 of 2"),
    ],
)
def test_weights_that_are_no_numbers_are_counted(weight, status):
    found = flexure.fuzziness(nn.Sequential(conv(weight), nn.Conv2d(2, 2, 3)))
    assert found.table["status"].tolist() == [status, MEASURED]
    assert math.isnan(found["fuzziness"][0]) and np.isnan(found["density"][0]).all()


def test_weights_before_that_are_no_numbers_are_counted_as_well():
    before = conv(torch.ones(2, 2, 3, 3))
    before.weight.data[0, 0, 0] = torch.nan
    found = flexure.fuzziness(conv(torch.ones(2, 2, 3, 3)), before=before, interval=["init", "minmax"])
    assert found.table["status"].tolist() == ["before: non-finite weights: 3 of 36"] * 2
    assert found.table[["fuzziness", "fuzziness_change", "grown"]].isna().all().all()


def test_a_network_without_convolutions_says_so(tmp_path):
    found = flexure.fuzziness(gauge.linear(), gauge.images())
    assert len(found) == 0
    assert found.notes == ("Sequential has no convolutions. Name other layers: layers='*'.",)
    found.save(tmp_path)
    assert list(Result.load(tmp_path / "fuzziness.parquet").table) == list(flexure.fuzziness(fresh()).table)


def test_the_initial_interval_is_known_for_pytorchs_default_alone():
    words = "not drawn by PyTorch's default initializer, so its initial interval is not known: .* 'init_minmax'"
    before = fresh()
    nn.init.kaiming_normal_(before[2].weight)
    table = flexure.fuzziness(fresh(1), before=before, interval=["init", "init_minmax"]).table
    assert table["status"].str.match(words).tolist() == [False, False, True, False]
    assert table["fuzziness"].notna().tolist() == [True, True, False, True]
    resnet = flexure.fuzziness(flexure.resolve("resnet20"))  # drawn by He's normal law, as its factory shows
    assert resnet.table["status"].str.match(words).all() and resnet.notes == ()
    assert "which weights after training do not show" in flexure.fuzziness(fresh()).notes[0]
    assert flexure.fuzziness(flexure.resolve("lenet5")).table["status"].tolist() == [MEASURED] * 2


def test_intervals_that_need_weights_before_say_so_and_other_networks_have_no_such_layer():
    table = flexure.fuzziness(fresh(), interval="init_minmax").table
    assert table["status"].tolist() == ["this interval needs the weights before training: give them as before="] * 2
    found = flexure.fuzziness(fresh(), before={"0.weight": torch.zeros(6, 1, 5, 5), "2.weight": torch.zeros(3, 3)})
    assert found["fuzziness_change"].tolist()[0] < 0 and math.isnan(found["fuzziness_change"][1])
    series = flexure.fuzziness(fresh(), checkpoints={1: fresh(), 2: {}})
    assert series.table["status"].tolist() == [MEASURED] * 2 + ["no such weight in this checkpoint"] * 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interval": "trajectory"}, "'trajectory' is of weights on their way: ask a monitor"),
        ({"interval": []}, "fuzziness: no interval; expected one or several"),
        ({"interval": "begin"}, "no interval 'begin'"),
        ({"index": "entropy"}, "no index of fuzziness 'entropy'"),
        ({"layers": "conv9"}, r"fuzziness: no weight matches 'conv9'"),
        ({"shuffle_draws": 20}, "shuffles are of the changes since before=, which is not given"),
        ({"shuffle_draws": 5}, r"shuffle_draws must be 0 \(none\), or at least 20 for a spread; got 5"),
        ({"checkpoints": {}}, "checkpoints must be networks, state dicts or files by step"),
        ({"before": 3}, "before: expected a network, a state dict, or a weights file; got a int"),
    ],
)
def test_wrong_arguments_are_named(options, words):
    with pytest.raises(ArgumentError, match=words):
        flexure.fuzziness(fresh(), **options)


def test_weights_without_values_are_refused():
    with pytest.raises(SpecimenError, match="has no values yet"):
        flexure.fuzziness(nn.Sequential(nn.LazyConv2d(3, 3)))


def test_arrays_hold_densities_and_kernels_as_memberships():
    before, after = fresh(), trained(fresh(), 0.5)
    found = flexure.fuzziness(after, before=before)
    width = np.diff(found["density_edges"], axis=1)
    for name, net in (("density", after), ("density_before", before)):
        np.testing.assert_allclose((found[name] * width).sum(1), 1, rtol=1e-5)
        counts, _ = np.histogram(net[0].weight.detach().float().numpy(), found["density_edges"][0])
        np.testing.assert_allclose((found[name] * width)[0] * 150, counts, atol=1.01)  # a weight on an edge
    assert found.provenance["kernels"] == "0" and found["kernels"].shape == (6, 5, 5)
    expected = ((after[0].weight.detach() * 5 + 1) / 2).clamp(0, 1).numpy()[:, 0]
    np.testing.assert_allclose(found["kernels"], expected, atol=1e-6)


def test_where_it_comes_from_is_recorded():
    found = flexure.fuzziness(
        fresh(), interval=["init", {"minmax": {"scope": "filter"}}], index={"yager": {"p": 1}}, seed=5
    )
    assert found.provenance["settings"] == {
        "interval": ["init, per layer", "minmax, per filter"],
        "index": ["yager(p=1)"],
        "layers": None,
        "shuffle_draws": 0,
    }
    assert found.provenance["seed"] == 5 and found.provenance["data"]["n"] == 0
    assert set(found.units) <= {*found.table}


def test_half_precision_is_read_exactly():
    weight = (0.1 * normal(4, 4, 3, 3)).bfloat16()
    half, whole = (flexure.fuzziness(conv(w), interval="minmax").table for w in (weight, weight.double()))
    np.testing.assert_allclose(half["fuzziness"], whole["fuzziness"], rtol=1e-12)
