"""Maximum-entropy fields: the law, independence of everything but the key, images they deform, folds."""

import math

import pytest
import torch
from reference import diffeomorphism as reference

from flexure import rng
from flexure.errors import ArgumentError
from flexure.formulas import maximum_entropy as law
from flexure.perturb.diffeomorphism import Diffeomorphism, coefficients, determinants, displacement_fields
from flexure.perturb.interpolation import gaussian_smooth, pull_back

DOUBLE = torch.float64


def within(samples: torch.Tensor, truth: float, *, slack: float = 0.0) -> bool:
    """Whether the mean of independent samples is within four standard errors of the truth."""
    return abs(float(samples.mean()) - truth) <= 4 * float(samples.std()) / math.sqrt(len(samples)) + slack


def draw(count, size, *, seed=0, **options):
    height, width = law.check_size(size)
    return Diffeomorphism(**options).fields(torch.arange(count), height, width, seed=seed, dtype=DOUBLE)


# the law of the fields


@pytest.mark.parametrize("cutoff", [3, 5, 10, 15])
def test_the_displacement_has_its_exact_mean_square(cutoff):
    squares = draw(600, 64, cutoff=cutoff).square().sum(1).mean((1, 2))
    assert within(squares, law.rms_displacement(law.temperature(1.0, cutoff, 64), cutoff, 64) ** 2)


@pytest.mark.parametrize("size", [(20, 50), (48, 16)])
def test_a_rectangle_has_its_exact_mean_square_too(size):
    fields = draw(1000, size, cutoff=4, displacement=1.5)
    assert fields.shape == (1000, 2, *size)
    heat = law.temperature(1.5, 4, size)
    for component in (0, 1):
        squares = fields[:, component].square().mean((1, 2))
        assert within(squares, law.rms_displacement(heat, 4, size) ** 2 / 2)
    assert torch.allclose(fields.var(0).mean(0), law.variance_field(heat, 4, size), rtol=0.25, atol=1e-3)


@pytest.mark.parametrize("size", [32, (24, 40)])
def test_each_pixel_has_its_variance_and_the_components_are_uncorrelated(size):
    fields = draw(4000, size, cutoff=3)
    expected = law.variance_field(law.temperature(1.0, 3, size), 3, size)
    for y, x in [(1, 1), (6, 20), (12, 12), (23, 3)]:
        column, row = fields[:, 0, y, x], fields[:, 1, y, x]
        assert within(column.square(), float(expected[y, x]))
        assert within(row.square(), float(expected[y, x]))
        assert within(column * row, 0.0)
        assert within(column, 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.bfloat16])
@pytest.mark.parametrize("size", [(32, 32), (21, 40)])
def test_nothing_moves_on_the_border(size, dtype):
    fields = Diffeomorphism(cutoff=5).fields(torch.arange(7), *size, seed=0, dtype=dtype)
    assert fields.dtype == dtype
    for edge in (fields[..., 0], fields[..., -1], fields[..., 0, :], fields[..., -1, :]):
        assert edge.eq(0).all()
    assert fields[..., 1:-1, 1:-1].abs().amin((1, 2, 3)).gt(0).all()


@pytest.mark.parametrize(("n", "cutoff"), [(32, 3), (32, 15), (57, 10)])
def test_two_matrix_products_give_the_reference_field(n, cutoff):
    found = coefficients(torch.arange(3), n, temperature=1e-3, cutoff=cutoff, seed=0, dtype=DOUBLE)
    fields = displacement_fields(found, n)
    for image in range(3):
        for component in (0, 1):
            expected = reference.field(found[image, component].T, n)  # theirs: i along a row first
            assert (fields[image, component] - expected).abs().max() <= 3e-15 * cutoff * expected.abs().max()


def test_the_first_component_moves_along_rows():
    found = torch.zeros(1, 2, 1, 2, dtype=DOUBLE)
    found[0, 0, 0, 1] = 1.0  # two half-waves along a row, one along a column
    fields = displacement_fields(found, (9, 13))
    assert fields[0, 1].eq(0).all()
    assert float(fields[0, 0, 4, 3]) == pytest.approx(1.0)
    assert float(fields[0, 0, 4, 9]) == pytest.approx(-1.0)


# what a field depends on


def test_a_field_depends_on_seed_image_and_draw_alone():
    index = torch.tensor([9, 4, 2**40, 0, 4])
    deform = Diffeomorphism(cutoff=5)
    together = deform.fields(index, 20, 24, seed=1, draw=3, dtype=DOUBLE)
    alone = torch.cat([deform.fields(i[None], 20, 24, seed=1, draw=3, dtype=DOUBLE) for i in index.flip(0)]).flip(0)
    assert torch.allclose(together, alone, rtol=0, atol=1e-14)
    assert torch.allclose(together[1], together[4], rtol=0, atol=1e-14)
    mixed = deform.fields(index, 20, 24, seed=1, draw=torch.tensor([3, 0, 0, 0, 3]), dtype=DOUBLE)
    assert torch.allclose(mixed[[0, 4]], together[[0, 4]], rtol=0, atol=1e-14)
    for seed, other in [(2, 3), (1, 4)]:
        changed = deform.fields(index, 20, 24, seed=seed, draw=other, dtype=DOUBLE)
        assert (changed - together).flatten(1).norm(dim=1).gt(0.1).all()


def test_coefficients_are_the_same_bits_in_any_batch():
    options = {"temperature": 1e-3, "cutoff": 6, "seed": 0}
    index = torch.arange(50)
    whole = coefficients(index, 32, **options)
    assert torch.equal(coefficients(index[[31, 7]], 32, **options), whole[[31, 7]])
    assert coefficients(index[:0], 32, **options).shape == (0, 2, 6, 6)


def test_precisions_agree_to_rounding():
    index = torch.arange(4)
    wide = Diffeomorphism().fields(index, 32, 32, seed=0, dtype=DOUBLE)
    assert torch.allclose(Diffeomorphism().fields(index, 32, 32, seed=0).double(), wide, rtol=0, atol=2e-6)


def test_curves_over_temperature_and_cutoff_share_their_luck():
    index = torch.arange(5)
    cold = coefficients(index, 32, temperature=1e-3, cutoff=3, seed=0, dtype=DOUBLE)
    hot = coefficients(index, 32, temperature=4e-3, cutoff=3, seed=0, dtype=DOUBLE)
    assert torch.allclose(hot, 2 * cold, rtol=1e-14)
    fine = coefficients(index, 32, temperature=1e-3, cutoff=10, seed=0, dtype=DOUBLE)
    kept = cold != 0
    assert int(kept[0, 0].sum()) == 6
    assert torch.equal(fine[:, :, :3, :3][kept], cold[kept])


@pytest.mark.parametrize("size", [(32, 32), (20, 50)])
def test_coefficients_are_normals_times_their_spread(size):
    height, width = size
    found = coefficients(torch.arange(2), size, temperature=1e-3, cutoff=5, seed=0, dtype=DOUBLE)
    kept = law.modes(5, width / height)
    z = rng.normal(2 * len(kept), seed=0, purpose="diffeomorphism", index=torch.arange(2), dtype=DOUBLE)
    for number, (i, j) in enumerate(kept):
        spread = math.sqrt(height * width * 1e-3 / (i**2 * height / width + j**2 * width / height))
        expected = spread * z[:, 2 * number : 2 * number + 2]
        assert torch.allclose(found[:, :, j - 1, i - 1], expected, rtol=1e-14, atol=0)
    assert int((found != 0).sum()) == 4 * len(kept)


def test_each_image_may_have_a_temperature_of_its_own():
    index = torch.arange(3)
    heat = torch.tensor([1e-3, 0.0, 5e-3], dtype=DOUBLE)
    found = coefficients(index, 32, temperature=heat, cutoff=4, seed=0)
    for row, single in enumerate(heat):
        alone = coefficients(index[[row]], 32, temperature=float(single), cutoff=4, seed=0)
        assert torch.equal(found[[row]], alone)


# images


@pytest.mark.parametrize("name", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(32, 32), (28, 28), (13, 40)])
@pytest.mark.parametrize("option", [{"temperature": 0.0}, {"displacement": 0.0}])
def test_temperature_zero_gives_the_images_back(name, size, option):
    x = torch.rand(3, 2, *size, generator=torch.Generator().manual_seed(0))
    deform = Diffeomorphism(**option, interpolation=name)
    found = deform(x, torch.arange(3), seed=0)
    assert torch.equal(found, x)
    assert found.data_ptr() != x.data_ptr()
    assert deform.clean(x) is x


def test_gaussian_images_are_compared_with_smoothed_ones():
    x = torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    at_rest = Diffeomorphism(displacement=0.0, interpolation="gaussian")
    assert torch.equal(at_rest(x, torch.arange(2), seed=0), gaussian_smooth(x))
    barely = Diffeomorphism(displacement=1e-7, interpolation="gaussian")
    assert torch.allclose(barely(x, torch.arange(2), seed=0), barely.clean(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE, torch.float16])
@pytest.mark.parametrize("name", ["bilinear", "gaussian", "nearest"])
def test_a_call_pulls_the_images_back_along_their_fields(name, dtype):
    x = torch.rand(3, 2, 20, 32, generator=torch.Generator().manual_seed(0)).to(dtype)
    deform, index = Diffeomorphism(interpolation=name, cutoff=4), torch.tensor([5, 1, 8])
    fields = deform.fields(index, 20, 32, seed=2, draw=1, dtype=torch.promote_types(dtype, torch.float32))
    found = deform(x, index, seed=2, draw=1)
    assert found.dtype == dtype
    assert torch.equal(found, pull_back(x, fields, name))
    assert torch.equal(found, deform.warp(x, fields))


@pytest.mark.parametrize("name", ["bilinear", "gaussian", "nearest"])
def test_many_images_are_deformed_in_parts_without_a_seam(name):
    x = torch.rand(125, 1, 40, 32, generator=torch.Generator().manual_seed(0))  # 51 at a time on one core
    deform, index = Diffeomorphism(interpolation=name, cutoff=4), torch.arange(125).flip(0)
    found = deform(x, index, seed=0)
    alone = torch.cat([deform(x[i : i + 1], index[i : i + 1], seed=0) for i in (0, 50, 51, 124)])
    assert torch.allclose(found[[0, 50, 51, 124]], alone, rtol=0, atol=1e-5)
    whole = deform(x.requires_grad_(), index, seed=0)
    assert torch.allclose(whole.detach(), found, rtol=0, atol=1e-5)
    whole.sum().backward()
    assert x.grad is not None
    assert float(x.grad.sum()) == pytest.approx(x.numel(), rel=1e-4)


def test_a_ramp_moves_by_its_slope_times_the_displacement():
    n, cutoff = 32, 3
    x = torch.arange(n, dtype=DOUBLE).expand(1, n, n)
    fields = draw(2000, n, cutoff=cutoff)
    change = pull_back(x.expand(2000, 1, n, n), fields) - x
    inside = (x - fields[:, :1] >= 0) & (x - fields[:, :1] <= n - 1)
    assert torch.allclose(change[inside], -fields[:, :1][inside], rtol=0, atol=1e-12)
    heat = law.temperature(1.0, cutoff, n)
    expected = n**2 * heat * ((n - 1) / 2) ** 2 * law.mode_sum(cutoff)
    assert expected == pytest.approx(341.1, abs=0.05)
    assert within(change.square().sum((1, 2, 3)), expected)


def test_a_smooth_image_changes_by_its_gradient_to_first_order():
    n, k = 64, 2 * math.pi / 64
    y, x = torch.meshgrid(torch.arange(n, dtype=DOUBLE), torch.arange(n, dtype=DOUBLE), indexing="ij")
    image = torch.sin(k * x + 0.3) * torch.cos(k * y)
    gradient = (k * torch.cos(k * x + 0.3) * torch.cos(k * y)) ** 2 + (
        k * torch.sin(k * x + 0.3) * torch.sin(k * y)
    ) ** 2
    change = pull_back(image.expand(1000, 1, n, n), draw(1000, n, displacement=0.2)) - image
    expected = float((law.variance_field(law.temperature(0.2, 3, n), 3, n) * gradient).sum())
    assert within(change.square().sum((1, 2, 3)), expected, slack=0.01 * expected)


def test_white_noise_under_large_deformations_keeps_a_pinned_border():
    x = torch.randn(100, 1, 64, 64, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    change = (pull_back(x, draw(100, 64, displacement=12.0)) - x).square()
    assert within(change.mean((1, 2, 3)), 1.32, slack=0.01)  # 1 + 4/9 in the bulk; the figure is rounded


def test_nominal_displacement_one_has_the_maxima_of_the_papers():
    norms = draw(2000, 32).square().sum(1).sqrt()
    assert within(norms.mean((1, 2)), 0.618, slack=5e-4)
    maxima = norms.amax((1, 2))
    assert within(maxima, 1.87, slack=5e-3)
    assert float((maxima > 2.71).double().mean()) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 2000))


def test_autocast_does_not_coarsen_the_fields():
    x = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    deform, index = Diffeomorphism(), torch.arange(2)
    plain = deform(x, index, seed=0), deform.folds(index, 16, 16, seed=0).determinant
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = deform(x, index, seed=0), deform.folds(index, 16, 16, seed=0).determinant
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["bilinear", "gaussian", "nearest"])
def test_a_gpu_gives_the_same_images_to_rounding(name):
    x = torch.rand(6, 3, 40, 32, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    deform, index = Diffeomorphism(interpolation=name, cutoff=4, fold="reject", displacement=3.0), torch.arange(6)
    found = deform(x.cuda(), index.cuda(), seed=0)
    assert found.is_cuda
    assert torch.allclose(found.cpu(), deform(x, index, seed=0), rtol=0, atol=1e-10)


# folds


@pytest.mark.parametrize("size", [(24, 24), (17, 30)])
def test_the_determinant_is_that_of_finite_differences(size):
    found = coefficients(torch.arange(2), size, temperature=5e-3, cutoff=4, seed=0, dtype=DOUBLE)
    exact = determinants(found, size, refine=2)
    assert exact.shape == (2, 2 * size[0] - 1, 2 * size[1] - 1)
    step = 1e-5
    for image, row, column in [(0, 0, 0), (0, 7, 12), (1, 2 * size[0] - 2, 5), (1, 20, 31)]:
        x, y = column / 2, row / 2
        moved = [
            reference.displacement(found[image], x + a * step, y + b * step, *size)
            for a, b in [(1, 0), (-1, 0), (0, 1), (0, -1)]
        ]
        across = [(moved[0][k] - moved[1][k]) / (2 * step) for k in (0, 1)]
        down = [(moved[2][k] - moved[3][k]) / (2 * step) for k in (0, 1)]
        expected = (1 - across[0]) * (1 - down[1]) - down[0] * across[1]
        assert float(exact[image, row, column]) == pytest.approx(expected, abs=1e-8)


FOLDS = {
    3: {0.25: 0.0, 0.5: 0.04, 1: 0.35, 2: 0.77, 4: 0.99},
    5: {0.25: 0.0, 0.5: 0.03, 1: 0.30, 2: 0.86, 4: 1.0},
    15: {0.25: 0.0, 0.5: 0.0, 1: 0.06, 2: 0.92, 4: 1.0},
}


def check_fraction(folded: torch.Tensor, expected: float, samples: int) -> None:
    p = min(max(expected, 1 / samples), 1 - 1 / samples)
    se = math.sqrt(p * (1 - p) * (1 / samples + 1 / len(folded)))
    assert abs(float(folded.double().mean()) - expected) <= 4 * se


@pytest.mark.parametrize(("cutoff", "ratio"), [(cutoff, ratio) for cutoff in FOLDS for ratio in FOLDS[cutoff]])
def test_fields_fold_as_often_as_in_the_table(cutoff, ratio):
    heat = ratio * law.temperature_range(cutoff, 200)[1]
    deform = Diffeomorphism(temperature=heat, cutoff=cutoff, refine=1)
    check_fraction(deform.folds(torch.arange(400), 200, 200, seed=0).folded, FOLDS[cutoff][ratio], 300)


@pytest.mark.parametrize(("cutoff", "expected"), [(3, 0.0), (5, 0.0), (15, 0.97)])
def test_folds_of_cifar_sized_images_at_one_pixel(cutoff, expected):
    found = Diffeomorphism(cutoff=cutoff).folds(torch.arange(400), 32, 32, seed=0)
    check_fraction(found.folded, expected, 500)
    assert torch.equal(found.folded, found.determinant <= 0)
    assert found.attempts.eq(1).all()


@pytest.mark.parametrize("refine", [1, 3])
def test_folds_are_looked_for_at_the_points_asked_for(refine):
    deform, index = Diffeomorphism(cutoff=7, displacement=2.0, refine=refine), torch.arange(30)
    found = coefficients(index, (20, 26), temperature=deform.resolve(20, 26), cutoff=7, seed=4, draw=1, dtype=DOUBLE)
    expected = determinants(found, (20, 26), refine).amin((1, 2))
    assert torch.allclose(deform.folds(index, 20, 26, seed=4, draw=1).determinant, expected, rtol=0, atol=1e-13)


def test_rejection_leaves_good_fields_alone_and_redraws_the_others():
    options = {"cutoff": 5, "temperature": law.temperature_range(5, 32)[1]}
    index = torch.arange(60)
    report, reject = Diffeomorphism(**options), Diffeomorphism(**options, fold="reject")
    before, after = report.folds(index, 32, 32, seed=0), reject.folds(index, 32, 32, seed=0)
    assert 5 < int(before.folded.sum()) < 40
    assert not after.folded.any()
    assert after.determinant.gt(0).all()
    assert torch.equal(after.attempts > 1, before.folded)
    old = report.fields(index, 32, 32, seed=0, dtype=DOUBLE)
    new = reject.fields(index, 32, 32, seed=0, dtype=DOUBLE)
    changed = (new - old).abs().amax((1, 2, 3)) > 1e-9
    assert torch.equal(changed, before.folded)


def test_rejection_depends_on_seed_image_and_draw_alone():
    reject = Diffeomorphism(cutoff=5, displacement=2.5, fold="reject", attempts=1000)
    index = torch.arange(40)
    together = reject.fields(index, 32, 32, seed=3, draw=2)
    assert int(reject.folds(index, 32, 32, seed=3, draw=2).attempts.max()) > 2
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    parts = torch.cat([reject.fields(part, 32, 32, seed=3, draw=2) for part in index[order].split(7)])
    assert torch.allclose(parts, together[order], rtol=0, atol=2e-6)
    draws = torch.arange(40) % 3
    mixed = reject.fields(index, 32, 32, seed=3, draw=draws)
    assert torch.allclose(mixed[draws == 2], together[draws == 2], rtol=0, atol=2e-6)


def test_giving_up_says_which_image_and_what_to_do():
    reject = Diffeomorphism(cutoff=15, displacement=2.0, fold="reject", attempts=3)
    with pytest.raises(
        ArgumentError, match=r"image 11 folded in each of 3 attempts at cutoff 15 .* times the limit T2"
    ):
        reject.fields(torch.tensor([11]), 32, 32, seed=0)


# arguments


def test_options_resolve_to_a_temperature():
    assert Diffeomorphism().resolve(32, 32) == law.temperature(1.0, 3, 32)
    assert Diffeomorphism(displacement=2.0, cutoff=5).resolve(20, 40) == law.temperature(2.0, 5, (20, 40))
    assert Diffeomorphism(temperature=1e-3).resolve(99, 20) == 1e-3
    assert Diffeomorphism(displacement=None, temperature=1e-3).displacement is None
    assert Diffeomorphism(cutoff=3.0) == Diffeomorphism(cutoff=3)
    assert isinstance(Diffeomorphism(cutoff=3.0).cutoff, int)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"displacement": 2.0, "temperature": 1e-3}, "either displacement or temperature; got displacement=2.0 and"),
        ({"displacement": None}, "either displacement or temperature; got displacement=None and temperature=None"),
        ({"displacement": -1.0}, "displacement must be finite, 0 or more; got -1.0"),
        ({"temperature": math.nan}, "temperature must be finite, 0 or more; got nan"),
        ({"cutoff": 1}, "cutoff must be 2 or more"),
        ({"interpolation": "linear"}, "no interpolation 'linear'. .*Valid: bilinear, gaussian, nearest"),
        ({"fold": "ignore"}, "no way 'ignore' to treat folds. .*reject, report"),
        ({"attempts": 0}, "attempts must be 1 or more; got 0"),
        ({"refine": 0}, "refine must be 1 or more; got 0"),
    ],
)
def test_bad_options_are_refused_in_words(options, words):
    with pytest.raises(ArgumentError, match=words):
        Diffeomorphism(**options)


def test_an_image_too_small_for_the_cutoff_is_refused_in_words():
    with pytest.raises(ArgumentError, match="need 17x17 pixels; the image has 8x8"):
        Diffeomorphism(cutoff=15)(torch.rand(1, 1, 8, 8), torch.arange(1), seed=0)
