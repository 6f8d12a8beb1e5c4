"""The tangent kernel: closed forms, autograd image by image, what leaves it as it is and what does not."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flexure.errors import ArgumentError, DataError, SpecimenError
from flexure.probes.elasticity import elasticity
from tests import gauge
from tests.reference.tangent_kernel import tangent_kernel, tangent_kernels


def images(n=7, shape=(1, 4, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, dtype=torch.float64, generator=generator), torch.arange(n) % 2


def mlp(*widths, activation=nn.ReLU, seed=0):
    def made():
        layers = [nn.Flatten()]
        for ins, outs in itertools.pairwise(widths):
            layers += [nn.Linear(ins, outs), activation()]
        return nn.Sequential(*layers[:-1]).double()

    return gauge.seeded(made, seed)


class Everything(nn.Module):
    """Every layer that has a rule, a shared one, an overwritten output, and some that have none."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, groups=2, dilation=2, padding=2, stride=2)
        self.same = nn.Conv2d(6, 6, (1, 3), padding="same", bias=False)
        self.up = nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1, groups=2)
        self.group, self.batch, self.layer = nn.GroupNorm(2, 4), nn.BatchNorm2d(4), nn.LayerNorm(8, eps=0.1)
        self.rms = nn.RMSNorm(8, eps=0.1)
        self.shared = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.randn(4, 1, 1))
        self.prelu, self.attention = nn.PReLU(), nn.MultiheadAttention(4, 2, batch_first=True)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
        self.table, self.head = nn.Embedding(5, 3), nn.Linear(4 * 8 * 8, 3)
        self.unused = nn.Linear(3, 3)

    def forward(self, x):
        x = F.relu_(self.same(F.relu_(self.conv(x))))
        x = self.prelu(self.batch(self.group(self.up(x)) * self.scale))
        x = self.shared(F.relu(self.shared(self.rms(self.layer(x.tanh())))))
        words = self.table((x.flatten(1)[:, :6].abs() * 3).long().clamp(0, 4)).mean(1)
        tokens = x.flatten(2).transpose(1, 2)[:, :5]
        tokens = self.normed(self.attention(tokens, tokens, tokens)[0])
        return self.head(x.flatten(1)) + words * tokens.mean((1, 2))[:, None]


@pytest.mark.parametrize("output", [0, 2, "trace"])
def test_it_is_what_autograd_gives_image_by_image(output):
    model, (x, _) = gauge.seeded(lambda: Everything().double()), images(5, (4, 8, 8))
    found = elasticity(model, x, output=output, per_layer=True)
    expected = tangent_kernel(model, x, range(3) if output == "trace" else [output])
    np.testing.assert_allclose(found["kernel"], sum(expected.values()), rtol=1e-10, atol=1e-12)
    by_layer = {}
    for name, kernel in expected.items():
        layer = name.split(".parametrizations")[0] if "parametrizations" in name else name.rpartition(".")[0]
        by_layer[layer] = by_layer.get(layer, 0) + kernel
    for layer, kernel in by_layer.items():
        np.testing.assert_allclose(found[f"kernel/{layer}"], kernel, rtol=1e-10, atol=1e-12, err_msg=layer)
    assert found.to_frame().set_index("layer").loc["unused", "status"] == "moves no prediction"
    told = {note.split(":")[0] for note in found.notes if "image by image" in note}
    assert {"scale", "prelu.weight", "attention.in_proj_weight"} <= told
    assert not told & {"conv.weight", "up.weight", "shared.weight", "table.weight", "rms.weight", "layer.bias"}


def test_attention_that_returns_no_weights_is_differentiated_without_a_warning():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 1)

        def forward(self, x):
            tokens = x.flatten(1, 2)
            return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    model, x = gauge.seeded(lambda: Attends().double()), images(3)[0]
    expected = sum(tangent_kernel(model, x, [0]).values())
    np.testing.assert_allclose(elasticity(model, x)["kernel"], expected, rtol=1e-10)


@pytest.mark.parametrize("tokens", [2, 5])
def test_a_layer_whose_first_dimension_is_not_the_images_goes_through_autograd(tokens):
    class TokensFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(4, 6), nn.Linear(6, 1)

        def forward(self, x):
            return self.head(self.mix(x[:, 0].transpose(0, 1)).tanh().transpose(0, 1).mean(1))

    (x, _), model = images(5, (1, tokens, 4)), gauge.seeded(lambda: TokensFirst().double())
    found = elasticity(model, x)
    np.testing.assert_allclose(found["kernel"], sum(tangent_kernel(model, x, [0]).values()), rtol=1e-10)
    why = {2: "a rule that does not fit", 5: "linear"}[tokens]
    assert f"mix.weight: gradients computed image by image ({why})." in found.notes


class Experts(nn.Module):
    """Images go to one of two experts; the first two images all to the first."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(16, 6), nn.Linear(16, 6), nn.Linear(6, 1)

    def forward(self, x):
        x = x.flatten(1)
        rows = torch.stack([(self.one if row.sum() > 0 else self.two)(row) for row in x])
        return self.head(rows.tanh())


class InParts(nn.Module):
    """Two images at a time through the same layer."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(16, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.head(torch.cat([self.inner(part) for part in x.flatten(1).split(2)]).tanh())


@pytest.mark.parametrize("kind", [Experts, InParts])
def test_no_weight_is_dropped_that_only_later_images_or_batches_meet(kind):
    x, _ = images(6)
    x[:2] = x[:2].abs()
    model = gauge.seeded(lambda: kind().double())
    expected = sum(tangent_kernel(model, x, [0]).values())
    np.testing.assert_allclose(elasticity(model, x)["kernel"], expected, rtol=1e-9, atol=1e-12)


def test_half_precision_does_not_overflow():
    model = gauge.seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 2048), nn.ReLU(), nn.Linear(2048, 1)))
    x = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    expected = elasticity(model, x, dtype="float64")["kernel"]
    for dtype in ("float16", "bfloat16"):
        found = elasticity(model, x, dtype=dtype)
        np.testing.assert_allclose(found["kernel"], expected, rtol=0.1)
        assert not any("image by image" in note for note in found.notes)


@pytest.mark.parametrize("name", ["conv.weight", "up.weight"])
@pytest.mark.parametrize("is_thin", [True, False])
def test_both_ways_to_multiply_factors_agree(monkeypatch, name, is_thin):
    from flexure.probes.elasticity import contraction

    model, (x, _) = gauge.seeded(lambda: Everything().double()), images(5, (4, 8, 8))
    monkeypatch.setattr(contraction, "_is_thin", lambda one, two: is_thin)
    found = elasticity(model, x, output=0, per_layer=True)
    expected = tangent_kernel(model, x, [0])
    layer = name.partition(".")[0]
    whole = expected[name] + expected[f"{layer}.bias"]
    np.testing.assert_allclose(found[f"kernel/{layer}"], whole, rtol=1e-10, atol=1e-12)


def test_affine():
    x, y = images()
    found = elasticity(mlp(16, 1), (x, y))
    flat = x.flatten(1).numpy()
    np.testing.assert_allclose(found["kernel"], flat @ flat.T + 1, rtol=1e-13)
    signed = (flat @ flat.T + 1) / (np.square(flat).sum(1) + 1)[:, None]
    np.testing.assert_allclose(found["relative_signed"], signed, rtol=1e-13)
    np.testing.assert_allclose(found["relative"], np.abs(signed), rtol=1e-13)


def test_two_layers_with_relu():
    (x, _), model = images(), mlp(16, 9, 1)
    flat, (first, second) = x.flatten(1), (model[1], model[3])
    with torch.no_grad():
        z, a = first(flat), second.weight[0]
        active, hidden = (z > 0).double(), z.relu()
        expected = (flat @ flat.T + 1) * ((active * a.square()) @ active.T) + hidden @ hidden.T + 1
    np.testing.assert_allclose(elasticity(model, x)["kernel"], expected, rtol=1e-12)


def test_infinite_width():
    generator = torch.Generator().manual_seed(0)
    width, x = 200_000, torch.tensor([[[[1.0, 0.5]]], [[[-0.3, 1.2]]], [[[-1.0, -0.4]]]])
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, width, bias=False), nn.ReLU(), nn.Linear(width, 1, bias=False))
    with torch.no_grad():
        model[1].weight.normal_(generator=generator)
        model[3].weight.normal_(generator=generator).div_(math.sqrt(width))
        model[1].weight.mul_(1.0)
    model[3].requires_grad_(False)
    found = elasticity(model, x, dtype="float64")["kernel"]
    flat = x.flatten(1).double().numpy()
    norms = np.linalg.norm(flat, axis=1)
    angle = np.arccos(np.clip(flat @ flat.T / np.outer(norms, norms), -1, 1))
    expected = flat @ flat.T * (np.pi - angle) / (2 * np.pi)
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.01)


def test_a_sigmoid_head_scales_by_its_slopes():
    (x, _), model = images(), mlp(16, 9, 1)
    p = model(x).sigmoid().detach().numpy()[:, 0]
    slopes = p * (1 - p)
    found = elasticity(nn.Sequential(model, nn.Sigmoid()), x)["kernel"]
    np.testing.assert_allclose(found, np.outer(slopes, slopes) * elasticity(model, x)["kernel"], rtol=1e-12)


def test_laws():
    (x, y), model = images(9), mlp(16, 9, 6, 1)
    found = elasticity(model, (x, y))
    kernel, relative = found["kernel"], found["relative"]
    assert np.array_equal(kernel, kernel.T) or np.allclose(kernel, kernel.T, rtol=1e-13)
    assert np.linalg.eigvalsh(kernel).min() > -1e-10
    np.testing.assert_allclose(np.diagonal(relative), 1, rtol=1e-14)
    own = np.diagonal(kernel)
    np.testing.assert_allclose(relative * own[:, None], (relative * own[:, None]).T, rtol=1e-12)
    np.testing.assert_allclose(elasticity(model, (x, 1 - y))["kernel"], kernel, rtol=1e-14)
    order = torch.tensor([3, 1, 8, 0, 2, 4, 7, 6, 5])
    np.testing.assert_allclose(elasticity(model, x[order])["kernel"], kernel[np.ix_(order, order)], rtol=1e-12)
    points = elasticity(model, x[:4], points=x[4:])
    np.testing.assert_allclose(points["kernel"], kernel[:4, 4:], rtol=1e-12)
    np.testing.assert_allclose(points["cosine"], found["cosine"][:4, 4:], rtol=1e-12)


def test_it_is_no_property_of_the_function():
    (x, _), model = images(), mlp(16, 9, 1)
    kernel, answers = elasticity(model, x)["kernel"], model(x).detach()
    with torch.no_grad():
        model[1].weight[0] *= 10
        model[1].bias[0] *= 10
        model[3].weight[0, 0] /= 10
    torch.testing.assert_close(model(x).detach(), answers)
    assert not np.allclose(elasticity(model, x)["kernel"], kernel, rtol=0.01)
    permuted = mlp(16, 9, 1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        permuted[1].weight.copy_(permuted[1].weight[order].clone())
        permuted[1].bias.copy_(permuted[1].bias[order].clone())
        permuted[3].weight.copy_(permuted[3].weight[:, order].clone())
    np.testing.assert_allclose(elasticity(permuted, x)["kernel"], kernel, rtol=1e-12)


def test_blocks_change_nothing():
    model, (x, _) = gauge.seeded(lambda: Everything().double()), images(30, (4, 8, 8))
    whole = elasticity(model, x)
    told = []
    parts = elasticity(model, x, memory_limit=1e6, progress=lambda done, total: told.append((done, total)))
    assert told[-1][1] > 2, "memory_limit made no blocks"
    np.testing.assert_allclose(parts["kernel"], whole["kernel"], rtol=1e-12)
    np.testing.assert_allclose(parts.table["share"], whole.table["share"], rtol=1e-12)


def test_the_kernels_of_every_two_outputs_are_what_autograd_gives():
    model, (x, _) = gauge.seeded(lambda: Everything().double()), images(6, (4, 8, 8))
    found = elasticity(model, x, output="all", per_layer=True)
    expected = tangent_kernels(model, x, 3)
    np.testing.assert_allclose(found["kernel_outputs"], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found["kernel"], np.trace(expected, axis1=2, axis2=3), rtol=1e-10)
    trace = elasticity(model, x, output="trace", per_layer=True)
    for name in ("kernel", "cosine", "kernel/head", "relative/up"):
        np.testing.assert_allclose(found[name], trace[name], rtol=1e-12, err_msg=name)
    for c in range(3):
        np.testing.assert_allclose(found["kernel_outputs"][:, :, c, c], elasticity(model, x, output=c)["kernel"])
    assert any("kernel_outputs takes 2.59 kB; kernel is its trace over outputs" in note for note in found.notes)


def test_the_kernels_of_every_two_outputs_are_symmetric_in_both_also_by_blocks():
    model, (x, _) = gauge.seeded(lambda: Everything().double()), images(30, (4, 8, 8))
    told = []
    full = elasticity(model, x, output="all", memory_limit=1e6, progress=lambda *done: told.append(done))
    assert told[-1][1] > 2, "memory_limit made no blocks"
    kernel = full["kernel_outputs"]
    np.testing.assert_allclose(kernel, kernel.transpose(1, 0, 3, 2), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(kernel, elasticity(model, x, output="all")["kernel_outputs"], rtol=1e-10, atol=1e-12)
    points = elasticity(model, x[:4], points=x[4:], output="all")["kernel_outputs"]
    np.testing.assert_allclose(points, kernel[:4, 4:], rtol=1e-10, atol=1e-12)


def test_similarities_of_a_layer_are_those_of_its_kernel():
    (x, y), model = images(), mlp(16, 9, 1)
    found = elasticity(model, (x, y), per_layer=True)
    for layer in ("1", "3"):
        kernel = found[f"kernel/{layer}"]
        own = np.diagonal(kernel)
        np.testing.assert_allclose(found[f"cosine/{layer}"], kernel / np.sqrt(np.outer(own, own)), rtol=1e-13)
        np.testing.assert_allclose(found[f"relative_signed/{layer}"], kernel / own[:, None], rtol=1e-13)
    np.testing.assert_allclose(found["kernel/1"] + found["kernel/3"], found["kernel"], rtol=1e-13)


def test_four_routes_agree_where_predictions_are_linear_in_the_weights():
    (x, y), model = images(), mlp(16, 9, 1)
    model[1].requires_grad_(False)
    expected = sum(tangent_kernel(nn.Sequential(nn.Flatten(), model[3]), model[:3](x)[..., None], [0]).values())
    np.testing.assert_allclose(elasticity(model, (x, y))["kernel"], expected, rtol=1e-10)
    for route in ("loop", "rank_one"):
        for step in (1e-3, 0.1):
            found = elasticity(model, (x, y), step=step, route=route)
            np.testing.assert_allclose(found["kernel"], expected, rtol=1e-10, err_msg=f"{route} {step}")


def test_shares_and_errors():
    model, (x, y) = mlp(16, 9, 1), images(12)
    table = elasticity(model, (x, y), per_layer=True).to_frame()
    assert table["layer"].tolist() == ["1", "3", "output"]
    assert table["share"][:2].sum() == pytest.approx(1) and table["share"][2] == 1
    assert table["kernel_self"][:2].sum() == pytest.approx(table["kernel_self"][2])
    assert (table["n"] == 12).all() and (table["status"] == "measured").all()
    columns = [name for name in table if name.endswith("_se")]
    assert np.isfinite(table[columns].to_numpy()).all()


def test_nothing_is_left_behind():
    model, (x, _) = mlp(16, 9, 1), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    elasticity(model, x)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_an_image_whose_gradient_is_not_finite_costs_its_own_pairs_alone():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp(16, 1)

        def forward(self, x):
            return self.inner(x).abs().sqrt()

    x, _ = images()
    model = Root()
    with torch.no_grad():
        model.inner[1].bias.zero_()
    x[3] = 0
    found = elasticity(model, x)
    assert np.isnan(found["kernel"][3]).all() and np.isnan(found["kernel"][:, 3]).all()
    rest = np.delete(np.delete(found["kernel"], 3, 0), 3, 1)
    np.testing.assert_allclose(rest, elasticity(model, x[[0, 1, 2, 4, 5, 6]])["kernel"], rtol=1e-12)
    assert found.table["n"].iloc[-1] == 6
    assert any("Gradients at 1 images are not finite" in note and "image 3" in note for note in found.notes)


def test_equal_images_are_alike():
    x, _ = images()
    x[1] = x[0]
    found = elasticity(mlp(16, 9, 1), x)
    assert found["cosine"][0, 1] == pytest.approx(1) and found["relative"][0, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"steps": 2}, ArgumentError, "steps= go with steps of finite size; give step="),
        ({"route": "loop"}, ArgumentError, "route= go with"),
        ({"step": -1.0}, ArgumentError, "step must be a learning rate above 0"),
        ({"loss": "sqared"}, ArgumentError, "no loss 'sqared'. Did you mean 'squared'"),
        ({"route": "lop", "step": 1.0}, ArgumentError, "no route 'lop'. Did you mean 'loop'"),
        ({"steps": 1.5}, ArgumentError, "steps must be a whole number of at least 1; got 1.5"),
        ({"step": "0.1"}, ArgumentError, "step must be a number or None; got '0.1'"),
        ({"output": 1.5}, ArgumentError, "output must be the number of an output, or 'trace', or 'all'; got 1.5"),
        ({"output": 5}, SpecimenError, "no output 5; it has 1, numbered from 0"),
        ({"step": True}, ArgumentError, "step must be a number or None; got True"),
        ({"memory_limit": "2GB"}, ArgumentError, "memory_limit is in bytes and at least 1e6; got '2GB'"),
        ({"memory_limit": float("nan")}, ArgumentError, "memory_limit is in bytes and at least 1e6; got nan"),
        ({"loss": 3, "step": 0.1}, ArgumentError, "loss must be the name of a loss, or a function of .*; got 3"),
        ({"optimizer": "adam", "step": 0.1}, ArgumentError, "optimizer must be an optimizer of this network.*'adam'"),
        ({"output": "trac"}, ArgumentError, "output must be the number of an output, or 'trace'"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        elasticity(mlp(16, 1), images()[0], **options)


def test_nothing_to_train_and_nobody_to_move():
    with pytest.raises(SpecimenError, match="no trainable parameter"):
        elasticity(mlp(16, 1).requires_grad_(False), images()[0])
    with pytest.raises(DataError, match="1 usable images; an image needs at least one other"):
        elasticity(mlp(16, 1), images(1)[0])


def test_a_batch_norm_without_statistics_is_refused():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False), nn.Flatten(), nn.Linear(8, 1)
    )
    with pytest.raises(SpecimenError, match="a batch norm without running statistics"):
        elasticity(model.double(), images()[0])
