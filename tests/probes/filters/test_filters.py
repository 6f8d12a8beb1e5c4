"""Spectra of filters: closed forms, invariances, a plain reference, chance, and a network that others trained."""

import math

import gauge
import numpy as np
import pandas as pd
import pytest
import torch
from reference.grid_laplacian import mode, powers_of
from torch import nn

import flexure
from flexure.errors import ArgumentError, SpecimenError
from flexure.formulas.grid_laplacian import modes
from flexure.results import MEASURED, Result

ESTIMATES = ["pooling_index", "frequency", "squared_norm"]


def conv(weight, kind=nn.Conv2d, **options):
    """A layer with exactly these filters."""
    weight = torch.as_tensor(weight)
    groups = options.get("groups", 1)
    pair = (weight.shape[1] * groups, weight.shape[0])
    pair = pair[::-1] if "Transpose" in kind.__name__ else pair
    if "Transpose" in kind.__name__:
        pair = (weight.shape[0], weight.shape[1] * groups)
    layer = kind(*pair, tuple(weight.shape[2:]), bias=False, **options).to(weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def measure(*layers, **options):
    return flexure.filters(nn.Sequential(*layers), initialized=0, **options)


def test_constant_filters_have_everything_at_eigenvalue_0_and_index_1():
    found = measure(conv(normal(6, 4, 1, 1).expand(6, 4, 3, 3)))
    row = found.table.iloc[0]
    assert row["pooling_index"] == pytest.approx(1, abs=1e-12) and row["frequency"] == pytest.approx(0, abs=1e-12)
    assert row["pooling_index_se"] < 1e-7 and row["p_value"] < 1e-20
    np.testing.assert_allclose(found["share"][0], [1, 0, 0, 0, 0, 0], atol=1e-12)
    assert (row["layer"], row["kind"], row["kernel"], row["channels"]) == ("0", "Conv2d", "3×3", "4→6")
    assert (row["n"], row["status"]) == (24, MEASURED)


@pytest.mark.parametrize("frequency", [(0, 1), (1, 1), (2, 0), (2, 2)])
def test_filters_of_one_mode_have_everything_in_its_group(frequency):
    wave, eigenvalue = mode((3, 3), frequency)
    found = measure(conv(normal(5, 2, 1, 1) * torch.from_numpy(wave)))
    group = found["eigenvalue"][0].tolist().index(round(eigenvalue))
    np.testing.assert_allclose(found["share"][0], np.eye(6)[group], atol=1e-12)
    row = found.table.iloc[0]
    assert row["pooling_index"] == pytest.approx(-1 / 8)
    assert row["frequency"] == pytest.approx(eigenvalue / (24 / 9)) and row["frequency_se"] < 1e-7


@pytest.mark.parametrize("shape", [(5, 5), (2, 3), (1, 7)])
def test_frequency_is_the_mean_eigenvalue_over_that_of_all_modes(shape):
    wave, eigenvalue = mode(shape, (0, shape[1] - 1))
    every = [
        sum(2 - 2 * math.cos(math.pi * a / side) for a, side in zip(f, shape, strict=True)) for f in np.ndindex(shape)
    ]
    found = measure(conv(normal(4, 2, 1, 1) * torch.from_numpy(wave)))
    assert found["frequency"][0] == pytest.approx(eigenvalue / np.mean(every))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("draw", [torch.randn, lambda *shape, **how: torch.rand(*shape, **how) - 0.5])
def test_independent_weights_have_a_flat_spectrum(size, draw):
    weight = draw(40, 30, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = measure(conv(weight))
    row, grid = found.table.iloc[0], modes((size, size))
    expected = grid.degeneracy.numpy() / grid.count
    assert (np.abs(found["share"][0] - expected) <= 4 * found["share_se"][0]).all()
    assert abs(row["pooling_index"]) <= 4 * row["pooling_index_se"]
    assert abs(row["frequency"] - 1) <= 4 * row["frequency_se"]
    variance = float(weight.square().mean())
    per_mode, error = found["power"][0] / grid.degeneracy.numpy(), found["power_se"][0] / grid.degeneracy.numpy()
    assert (np.abs(per_mode - variance) <= 4 * error).all()


def test_powers_add_up_to_the_mean_squared_norm():
    weight = normal(7, 3, 5, 5)
    found = measure(conv(weight))
    norms = weight.square().sum((2, 3)).flatten()
    assert found["power"][0].sum() == pytest.approx(float(norms.mean()))
    assert found["squared_norm"][0] == pytest.approx(float(norms.mean()))
    assert found["squared_norm_se"][0] == pytest.approx(float(norms.std() / 21**0.5))
    assert found["share"][0].sum() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(4, 3, 3, 3), (2, 5, 2, 2), (3, 2, 5, 5), (3, 3, 1, 3), (2, 2, 4, 2)])
def test_powers_are_those_of_the_plain_reference(shape):
    weight = normal(*shape)
    found, plain = measure(conv(weight)), powers_of(weight.numpy())
    np.testing.assert_allclose(found["power"][0], list(plain.values()), rtol=1e-12)
    np.testing.assert_allclose(found["eigenvalue"][0], list(plain), atol=1e-6)


def test_more_filters_than_are_worked_on_at_a_time_are_no_different():
    weight = normal(150, 120, 3, 3).square()  # 18,000 filters, far from mean 0
    found, grid = measure(conv(weight)), modes((3, 3))
    q = (weight.reshape(-1, 9) @ grid.basis.T).square() @ grid.members
    np.testing.assert_allclose(found["power"][0], q.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["power_std"][0], q.std(0), rtol=1e-10)
    np.testing.assert_allclose(found["power_se"][0], q.std(0) / 18_000**0.5, rtol=1e-10)
    p, total = q[:, 0].mean() / q.sum(1).mean(), q.sum(1)
    error = ((q[:, 0] - p * total) / total.mean()).std() / 18_000**0.5
    assert found["share_se"][0][0] == pytest.approx(float(error), rel=1e-10)
    assert found["pooling_index_se"][0] == pytest.approx(float(error) * 9 / 8, rel=1e-10)


def test_shuffling_channels_changes_nothing_nor_does_a_scale_the_shares():
    weight = normal(8, 6, 3, 3)
    order = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    first = measure(conv(weight))
    shuffled = measure(conv(weight.reshape(48, 3, 3)[order].reshape(8, 6, 3, 3)))
    pd.testing.assert_frame_equal(first.table, shuffled.table, rtol=1e-12)
    scaled = measure(conv(-7 * weight))
    np.testing.assert_allclose(scaled["share"], first["share"], rtol=1e-12)
    np.testing.assert_allclose(scaled["power"], 49 * first["power"], rtol=1e-12)
    turned = measure(conv(weight.transpose(2, 3).flip(2)))
    pd.testing.assert_frame_equal(first.table, turned.table, rtol=1e-9)


def test_standard_errors_say_how_far_layers_drawn_alike_differ():
    def draw(seed):
        w = normal(20, 10, 3, 3, seed=seed)
        return conv(w + 0.6 * w.mean((2, 3), keepdim=True) + 0.3 * normal(20, 10, 1, 1, seed=1000 + seed))

    table = measure(*map(draw, range(300))).table
    for name in ESTIMATES:
        spread, claimed = table[name].var(), (table[f"{name}_se"] ** 2).mean()
        assert abs(spread / claimed - 1) <= 4 * math.sqrt(2 / 299) + 0.02, name


def test_indices_of_independent_weights_leave_the_null_interval_as_often_as_they_should():
    table = measure(*(conv(normal(6, 5, 3, 3, seed=seed)) for seed in range(500))).table
    outside = (table["pooling_index"] < table["pooling_index_null_low"]) | (
        table["pooling_index"] > table["pooling_index_null_high"]
    )
    assert abs(outside.mean() - 0.05) <= 4 * math.sqrt(0.05 * 0.95 / 500)
    assert (outside == (table["p_value"] < 0.05)).all()


@pytest.mark.parametrize(
    ("layer", "kernel", "channels", "n"),
    [
        (nn.Conv1d(4, 6, 5), "5", "4→6", 24),
        (nn.Conv2d(4, 6, (1, 3)), "1×3", "4→6", 24),
        (nn.Conv3d(2, 3, (3, 3, 2)), "3×3×2", "2→3", 6),
        (nn.Conv2d(8, 8, 3, groups=8), "3×3", "8→8, 8 groups", 8),
        (nn.Conv2d(8, 4, 3, groups=2, stride=2, dilation=2), "3×3", "8→4, 2 groups", 16),
        (nn.ConvTranspose2d(4, 6, 3), "3×3", "4→6", 24),
        (nn.ConvTranspose2d(4, 6, 2, groups=2), "2×2", "4→6, 2 groups", 12),
        (nn.ConvTranspose1d(3, 2, 4), "4", "3→2", 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_every_kind_of_convolution_has_a_row(layer, kernel, channels, n):
    found = measure(layer)
    row = found.table.iloc[0]
    assert (row["kernel"], row["channels"], row["n"], row["status"]) == (kernel, channels, n, MEASURED)
    assert row["kind"] == type(layer).__name__
    assert np.isfinite(row[ESTIMATES].astype(float)).all()
    np.testing.assert_allclose(found["power"][0], list(powers_of(layer.weight.detach().double().numpy()).values()))


def test_layers_of_different_kernels_share_arrays_padded_with_nan():
    found = measure(nn.Conv2d(3, 4, 2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 1))
    assert found["power"].shape == (3, 6)
    assert np.isnan(found["power"]).sum(1).tolist() == [3, 0, 5]
    assert found["eigenvalue"][0][:3].tolist() == [0, 2, 4] and found["degeneracy"][1].tolist() == [1, 2, 1, 2, 2, 1]


def test_filters_of_one_pixel_have_one_mode_and_no_index():
    found = flexure.filters(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv1d(4, 4, 1)))
    assert found.table["status"].tolist() == ["1×1: one mode only", "1: one mode only"]
    assert found.table[["pooling_index", "frequency", "p_value", "pooling_index_init"]].isna().all(axis=None)
    assert found.table[["squared_norm", "squared_norm_se", "squared_norm_init"]].notna().all(axis=None)
    assert found["share"].tolist() == [[1], [1]]


def test_a_network_without_convolutions_says_so(tmp_path):
    found = flexure.filters(gauge.linear(), gauge.images())
    assert len(found) == 0 and found["power"].shape == (0, 0)
    assert found.notes == ("Sequential has no convolutions, so there are no filters to look at.",)
    found.save(tmp_path)
    assert list(Result.load(tmp_path / "filters.parquet").table) == list(found.table)
    assert flexure.filters(gauge.linear(), layers="conv*").notes == found.notes


@pytest.mark.parametrize(
    ("weight", "status"),
    [
        (torch.zeros(2, 2, 3, 3), "all filters are zero"),
        (torch.full((2, 2, 3, 3), torch.nan), "non-finite weights"),
        (torch.full((2, 2, 3, 3), 1e200, dtype=torch.float64), "non-finite weights"),
        (torch.ones(1, 1, 3, 3), "measured on one filter: no standard error"),
    ],
)
def test_what_cannot_be_measured_has_a_reason(weight, status):
    row = measure(conv(weight)).table.iloc[0]
    assert row["status"] == status
    assert math.isnan(row["pooling_index_se"])
    assert math.isnan(row["pooling_index"]) == ("one filter" not in status)


def test_half_precision_is_read_exactly_and_another_dtype_rounds_first():
    weight = normal(4, 4, 3, 3)
    half, whole = conv(weight.bfloat16()), conv(weight.bfloat16().double())
    np.testing.assert_allclose(measure(half)["power"], measure(whole)["power"], rtol=1e-15)
    rounded = measure(conv(weight), dtype="bfloat16")
    np.testing.assert_allclose(rounded["power"], measure(whole)["power"], rtol=1e-15)
    assert rounded.provenance["dtype"] == "bfloat16"


def test_a_comparison_gives_means_over_networks_with_errors_over_networks():
    given = conv(normal(8, 8, 3, 3))
    others = [nn.Sequential(conv(normal(8, 8, 3, 3, seed=seed) / 2)) for seed in (1, 2, 3)]
    found = flexure.filters(nn.Sequential(given), initialized=others)
    each = [flexure.filters(other, initialized=0) for other in others]
    for name in ESTIMATES:
        values = np.array([one[name][0] for one in each])
        assert found[f"{name}_init"][0] == pytest.approx(values.mean())
        assert found[f"{name}_init_se"][0] == pytest.approx(values.std(ddof=1) / 3**0.5)
    powers = np.array([one["power"][0] for one in each])
    np.testing.assert_allclose(found["power_init"][0], powers.mean(0))
    np.testing.assert_allclose(found["power_init_se"][0], powers.std(0, ddof=1) / 3**0.5)
    np.testing.assert_allclose(found["ratio"][0], found["power"][0] / powers.mean(0))
    relative = (found["power_se"] / found["power"]) ** 2 + (found["power_init_se"] / found["power_init"]) ** 2
    np.testing.assert_allclose(found["ratio_se"], found["ratio"] * np.sqrt(relative))
    assert found.table["status_init"].tolist() == [MEASURED] and found.provenance["initialized"] == 3


def test_one_initialized_network_has_errors_over_its_filters():
    other = nn.Sequential(conv(normal(8, 8, 3, 3, seed=1)))
    found = flexure.filters(nn.Sequential(conv(normal(8, 8, 3, 3))), initialized=other)
    own = flexure.filters(other, initialized=0)
    assert [found[f"{name}_init_se"][0] for name in ESTIMATES] == [own[f"{name}_se"][0] for name in ESTIMATES]


def test_fresh_networks_depend_on_the_seed_and_are_those_of_sensitivity():
    net = gauge.seeded(gauge.ResidualNet)
    one, same, other = (flexure.filters(net, seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one.table, same.table, check_exact=True)
    assert not np.array_equal(one["power_init"], other["power_init"]) and np.array_equal(one["power"], other["power"])
    from flexure import rng
    from flexure.models import reinitialized

    fresh = reinitialized(flexure.Specimen(net), rng.key(0, "initialized 0")[0])
    assert np.array_equal(one["power_init"], flexure.filters(fresh, initialized=0)["power"])


def test_a_comparison_that_cannot_be_made_says_why():
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.ones(1))

    found = flexure.filters(Fixed())
    assert found.table["pooling_index_init"].isna().all() and found["pooling_index"][0] < 0.5
    assert "reset_parameters does not cover scale" in found["status_init"][0] and "power_init" not in found.arrays
    pair = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    odd = nn.Sequential(nn.Conv2d(3, 4, 5), nn.ReLU())
    found = flexure.filters(pair, initialized=odd)
    assert found["status_init"].tolist() == [
        "5×5 in the initialized network",
        "not a convolution of the initialized network",
    ]
    assert np.isnan(found["power_init"]).all() and np.isfinite(found["power"]).all()


def test_layers_are_chosen_by_name_or_kind():
    net = gauge.seeded(gauge.ResidualNet)
    names = flexure.filters(net)["layer"].tolist()
    assert names == ["conv1", *(f"layer1.{block}.conv{i}" for block in (0, 1) for i in (1, 2))]
    assert flexure.filters(net, layers="layer1.1.*")["layer"].tolist() == names[3:]
    assert flexure.filters(net, layers=["conv1", "layer1.0.*"])["layer"].tolist() == names[:3]
    assert len(flexure.filters(net, layers="Conv2d")) == 5
    with pytest.raises(ArgumentError, match=r"no convolution matches 'layer1\.0\.con1'\. Did you mean 'layer1\.0\.con"):
        flexure.filters(net, layers="layer1.0.con1")


def test_a_convolution_that_extends_one_of_torchs_is_of_its_kind_too():
    class Up(nn.ConvTranspose2d):
        pass

    net = nn.Sequential(Up(3, 5, 3), nn.Conv2d(5, 2, 3))
    assert flexure.filters(net, layers="ConvTranspose2d")["kind"].tolist() == ["Up"]
    assert flexure.filters(net, layers="Up")["channels"].tolist() == ["3→5"]


def test_wrong_arguments_and_weights_without_values_are_refused():
    with pytest.raises(ArgumentError, match="filters: initialized counts networks and must be at least 0; got -1"):
        flexure.filters(gauge.linear(), initialized=-1)
    with pytest.raises(SpecimenError, match="has no values yet"):
        flexure.filters(nn.Sequential(nn.LazyConv2d(3, 3)))


def test_where_it_comes_from_is_recorded():
    found = flexure.filters(nn.Sequential(nn.Conv2d(3, 4, 3)), layers=["0"], seed=5)
    assert found.provenance["settings"] == {"layers": ["0"]} and found.provenance["seed"] == 5
    assert found.provenance["data"] == {"name": "the weights alone", "n": 0, "hash": None, "classes": None}
    assert found.provenance["specimen"]["weights_hash"]
    assert set(found.units) <= {*found.table, *found.arrays}


def test_the_filters_of_a_trained_resnet20_have_moved_to_low_frequencies(trained_resnet20):
    found = flexure.filters(flexure.resolve("resnet20", weights=str(trained_resnet20)))
    table = found.table
    assert len(table) == 19 and (table["status"] == MEASURED).all() and (table["status_init"] == MEASURED).all()
    assert (table["frequency"] + 2 * table["frequency_se"] < table["frequency_init"]).sum() >= 15
    assert table["pooling_index"].iloc[-1] > 0.5 > 0.05 > abs(table["pooling_index_init"].iloc[-1])
    errors = 4 * table["pooling_index_init_se"]
    assert (table["pooling_index_init"].abs() <= errors).all()
    np.testing.assert_allclose(found["power"].sum(1), table["squared_norm"])
