"""What can be measured, op by op, and which networks are refused before anything is."""

import gauge
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from flexure import Specimen
from flexure.bench import mount
from flexure.errors import ArgumentError, SpecimenError
from flexure.survey import select, survey


def ops_of(model, n=10, *, rows=4, dtype=None, **options):
    """The ops of a network by name, surveyed on ``n`` images."""
    with mount(Specimen.of(model), dtype=dtype) as mounted:
        return {op.name: op for op in survey(mounted, gauge.images(n).to(mounted.dtype), rows=rows, **options)}


def statuses(then, n=10, *, rows=4, **modules):
    return {name: op.status for name, op in ops_of(gauge.Calls(then, **modules), n, rows=rows).items()}


# What is found


def test_every_op_in_order_and_the_output_last():
    ops = ops_of(gauge.seeded(gauge.ResidualNet))
    assert list(ops)[:3] == ["mul", "sub", "conv1"] and list(ops)[-2:] == ["fc", "output"]
    assert {op.status for op in ops.values()} == {"measured"} and all(op.is_measurable for op in ops.values())
    conv = ops["conv1"]
    assert (conv.kind, conv.shape, conv.features, conv.dtype) == ("Conv2d", (4, 8, 8), 256, "float32")
    assert ops["output"].kind == "output"


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 64), (2, 1), (2, 64), (7, 3), (8, 64), (64, 5), (65, 64)])
def test_center_and_scale_are_the_mean_and_the_root_mean_square(n, rows):
    model, x = gauge.seeded(gauge.linear).double(), gauge.images(n).double()
    found = ops_of(model, n, rows=rows)["1"]
    with torch.no_grad():
        value = model(x)
    assert torch.allclose(found.center, value.mean(0), rtol=1e-12)
    assert found.scale == pytest.approx(float(value.square().sum(1).mean().sqrt()), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_single(dtype):
    found = ops_of(gauge.seeded(gauge.ResidualNet), dtype=dtype)["conv1"]
    assert (found.dtype, found.center.dtype) == (dtype, torch.float32)


def test_the_output_of_the_identity_is_its_input():
    ops = ops_of(nn.Identity())
    assert list(ops) == ["identity", "output"]
    assert torch.allclose(ops["output"].center, gauge.images(10).mean(0).flatten())


def test_blocks_instead_of_ops():
    assert list(ops_of(gauge.seeded(gauge.ResidualNet), blocks=True)) == ["layer1.0", "layer1.1", "output"]


def test_several_rows_per_image_belong_to_the_image():
    def then(net, x):
        windows = x.unflatten(2, (2, 4)).unflatten(4, (2, 4)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        return (windows * 2).mean((1, 2, 3)).view(len(x), 4)

    ops = ops_of(gauge.Calls(then))
    assert (ops["mul"].shape, ops["mul"].features, ops["mul"].status) == ((4, 4, 4, 4), 256, "measured")
    assert torch.allclose(2 * ops["conv"].center.sum(), ops["mul"].center.sum(), rtol=1e-4)


# What cannot be measured


def test_each_status():
    def then(net, x):
        odd = x.flatten(1)[:, : 3 + len(x)]
        parts = (x > 0, torch.fft.fft(x), x.argmax(1), torch.linspace(0, 1, 5), x.mean(), odd * 1, x.transpose(0, 1))
        return x, parts

    found = statuses(lambda net, x: then(net, x)[0])
    assert found == {
        "conv": "measured",
        "gt": "not floating point",
        "fft_fft": "complex numbers",
        "argmax": "not floating point",
        "linspace": "first dimension is 5, not the batch",
        "mean": "one number for the whole batch",
        "flatten": "measured",
        "getitem": "shape changes from batch to batch",
        "mul": "shape changes from batch to batch",
        "transpose": "first dimension is 4, not the batch",
        "output": "measured",
    }


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (1, 8), (2, 1), (2, 8), (4, 4), (9, 1), (64, 64)])
def test_a_permuted_first_dimension_is_noticed_whatever_the_number_of_images(n, rows):
    found = statuses(lambda net, x: x.flatten(2).permute(2, 0, 1).mul(2).mean(0), n, rows=rows)
    assert found["permute"] == found["mul"] == "first dimension is 64, not the batch"
    assert found["mean"] == found["output"] == "measured"


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (2, 2), (3, 3), (6, 6), (64, 64)])
def test_rows_in_another_order_than_the_images_are_noticed(n, rows):
    def then(net, x):
        views = torch.cat([x, 3 * x], 0)  # all first views, then all second views
        return (views + 1).mean((1, 2, 3)).view(2, -1).mean(0)

    found = statuses(then, n, rows=rows)
    assert found["cat"] == found["add"] == "first dimension mixes the images"
    assert found["mul"] == found["output"] == "measured"
    assert ops_of(gauge.Calls(then), n, rows=rows)["cat"].shape == (2, 4, 8, 8)


def test_a_constant_is_not_the_surveys_affair():
    found = ops_of(gauge.Calls(lambda net, x: x * 0 + 3))
    assert found["add"].status == "measured" and torch.equal(found["add"].center, torch.full((256,), 3.0))
    assert found["mul"].scale == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_pass_through(value):
    def then(net, x):
        return torch.where(torch.arange(len(x))[:, None, None, None] == 0, value, x)

    found = ops_of(gauge.Calls(then))
    assert found["where"].status == "measured"
    assert found["where"].center.isfinite().all()


def test_a_network_that_is_not_a_number_for_some_images_is_surveyed():
    ops = ops_of(gauge.seeded(gauge.not_a_number_at))
    assert {op.status for op in ops.values()} == {"measured", "not floating point"}


def test_integer_outputs():
    assert statuses(lambda net, x: x.flatten(1).argmax(1))["output"] == "not floating point"


def test_an_op_that_only_some_batches_call_is_listed():
    found = statuses(lambda net, x: x if len(x) < 8 else torch.relu(x) + torch.relu(-x).neg(), 12, rows=8)
    assert found["relu_1"] == found["output"] == "measured"


# Networks that are refused


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (
            lambda net, x: F.dropout(net.act(x)) * 2,
            r"two clean passes over the same 2 images .* at 'dropout' \(drop",
        ),
        (lambda net, x: net.act(x) + 1e-3 * torch.randn(x.shape), r"at 'randn' \(randn\)"),
        (lambda net, x: x.add_(torch.rand(x.shape).mean()), r"the first op that does \(1e-05 is allowed\)"),
    ],
)
def test_a_network_that_draws_numbers_is_refused_and_the_first_such_op_named(then, words):
    model = gauge.Calls(then, act=nn.ReLU())
    with pytest.raises(SpecimenError, match=f"^Calls: .*{words}.*") as refused:
        ops_of(model)
    assert "look in its forward function for random numbers or dropout" in str(refused.value)


def test_noise_of_a_thousandth_of_what_is_allowed_is_let_through():
    model = gauge.Calls(lambda net, x: x * (1 + 1e-8 * torch.rand(())))
    assert ops_of(model, dtype="float64")["output"].status == "measured"


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("n", [2, 10, 64])
def test_batch_norm_without_running_statistics_is_refused_and_measured_as_asked(flat, n):
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    model = gauge.Calls(lambda net, x: net.norm(x.mean((2, 3), keepdim=True) if flat else x), norm=norm)
    if flat and n < 64:  # the norm itself refuses batches of one image
        words = r"forward pass failed .* Expected more than 1 value per channel"
    else:
        words = r"images in batches of two sizes differ by .* at 'norm' \(BatchNorm2d\).*batch_norm='batch'"
    with pytest.raises(SpecimenError, match=words):
        ops_of(model, n)
    assert ops_of(model, n, batch_norm="batch")["norm"].status == "measured"


def test_images_that_act_on_one_another_are_refused():
    model = gauge.Calls(lambda net, x: (x / torch.zeros(1), x - x.mean(0, keepdim=True))[1])  # NaN first: no excuse
    words = r"at 'sub' \(sub\), .*1e-03 is allowed\). .*depend on the others in its batch"
    for n, rows in ((10, 4), (10, 1), (2, 1)):
        with pytest.raises(SpecimenError, match=words):
            ops_of(model, n, rows=rows)


def test_in_half_precision_they_cannot_be_told_from_rounding():
    model = gauge.Calls(lambda net, x: x - x.mean(0, keepdim=True))
    assert ops_of(model, dtype="bfloat16")["sub"].status == "measured"


def test_statistics_of_the_batch_do_not_touch_the_running_ones():
    model = gauge.seeded(gauge.ResidualNet)
    running, batch = ops_of(model), ops_of(model, batch_norm="batch")
    assert torch.equal(running["conv1"].center, batch["conv1"].center)
    assert not torch.allclose(running["bn1"].center, batch["bn1"].center, atol=1e-2)


@pytest.mark.parametrize("seed", range(8))
def test_deep_networks_are_not_refused_for_their_rounding(seed):
    def made():
        layers = [module for _ in range(60) for module in (nn.Linear(64, 64), nn.ReLU(), nn.LayerNorm(64))]
        return nn.Sequential(nn.Flatten(), nn.Linear(192, 64), *layers)

    model = gauge.seeded(made, seed)
    for dtype in ("float16", "bfloat16", "float32"):
        assert {op.status for op in ops_of(model, 20, dtype=dtype).values()} == {"measured"}


def test_an_autocast_inside_is_no_reason_to_refuse():
    def then(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = net.layers(x.flatten(1))
        return x.float()

    layers = [module for _ in range(20) for module in (nn.Linear(256, 256), nn.ReLU())]
    assert ops_of(gauge.seeded(lambda: gauge.Calls(then, layers=nn.Sequential(*layers))))["float"].status == "measured"


# Choosing ops


def chosen(layers):
    return [op.name for op in select(list(ops_of(gauge.seeded(gauge.ResidualNet)).values()), layers)]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("bn1", ["bn1", "output"]),
        ("layer1.0.bn?", ["layer1.0.bn1", "layer1.0.bn2", "output"]),
        ("Linear", ["fc", "output"]),
        (["cat", "layer1.*.add"], ["layer1.0.add", "layer1.1.add", "cat", "output"]),
        (("*.conv1",), ["layer1.0.conv1", "layer1.1.conv1", "output"]),
        ("output", ["output"]),
        ("Conv*", ["conv1", *(f"layer1.{b}.conv{i}" for b in (0, 1) for i in (1, 2)), "output"]),
    ],
)
def test_ops_are_chosen_by_name_or_kind(layers, expected):
    assert chosen(layers) == expected


class Around(nn.Conv2d):
    """A convolution of a network's own, which says that it is one op."""

    is_one_op = True


@pytest.mark.parametrize("layers", ["Conv2d", "Around", "Conv?d"])
def test_a_class_that_extends_a_layer_is_chosen_by_its_kind_and_by_that_layers(layers):
    ops = list(ops_of(nn.Sequential(Around(3, 4, 3), nn.ReLU6(), nn.Flatten())).values())
    assert [(op.name, op.kind) for op in select(ops, layers)] == [("0", "Around"), ("output", "output")]
    with pytest.raises(ArgumentError, match="no layer and no kind matches 'Hardtanh'"):
        select(ops, "Hardtanh")  # what ReLU6 is made of


@pytest.mark.parametrize("layers", [None, "blocks"])
def test_all_ops_are_chosen_where_none_is_named(layers):
    assert len(chosen(layers)) == len(ops_of(gauge.seeded(gauge.ResidualNet)))


@pytest.mark.parametrize("layers", ["layer1.0.bn3", ["fc", "layer1.0.bn3"]])
def test_a_name_that_matches_nothing_is_answered_with_the_nearest(layers):
    words = r"layers: no layer and no kind matches 'layer1.0.bn3'. Did you mean 'layer1.0.bn"
    with pytest.raises(ArgumentError, match=words):
        chosen(layers)
