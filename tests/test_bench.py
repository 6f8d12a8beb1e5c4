"""The bench: what is measured, in which state, and the words for what cannot be."""

import warnings
from collections import namedtuple
from types import SimpleNamespace

import gauge
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from flexure import Specimen
from flexure.bench import BatchStatistics, choose_device, mount, primary, unwrap, weights_hash
from flexure.errors import ArgumentError, SpecimenError


def passed(specimen, x=None, **options):
    """The output for some images."""
    with mount(Specimen.of(specimen), **options) as mounted:
        x = gauge.images() if x is None else x
        return mounted.forward(mounted.normalized(x.to(mounted.device, mounted.dtype)))


# The state in which networks are measured


def test_a_network_in_training_mode_is_measured_in_evaluation_mode():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 5))
    assert model.training
    assert torch.equal(passed(model), passed(model))


def test_there_are_no_gradients_no_autocast_and_normal_tensors_inside():
    state = []

    def then(net, x):
        state.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), x.dtype, x.is_inference()))
        return x

    model = gauge.Calls(then)
    passed(model)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        passed(model)
    assert state == [(False, False, torch.float32, False)] * 2


def test_a_network_may_use_autocast_inside():
    def then(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net.fc(x)

    assert passed(gauge.Calls(then, fc=nn.Conv2d(4, 2, 1))).dtype == torch.bfloat16


def precisions():
    backends = torch.backends
    settings = (backends, backends.cuda.matmul, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn)
    mkldnn = (backends.mkldnn.matmul, backends.mkldnn.conv, backends.mkldnn.rnn)
    return [setting.fp32_precision for setting in settings + mkldnn]


def legacy():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return torch.get_float32_matmul_precision(), matmul.allow_tf32, cudnn.allow_tf32


@pytest.fixture
def precise_again():
    yield
    torch.backends.fp32_precision = "none"
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("precise_again")
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize("cudnn", [True, False])
def test_precision_set_in_the_old_way_is_put_back(precision, cudnn):
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.allow_tf32 = cudnn
    before = precisions(), legacy()
    with mount(Specimen(nn.Identity())):
        assert set(precisions()) == {"ieee"}
    assert (precisions(), legacy()) == before


@pytest.mark.usefixtures("precise_again")
@pytest.mark.parametrize("setting", ["", "cuda.matmul", "cudnn.conv", "mkldnn.matmul"])
def test_precision_set_in_the_new_way_is_put_back_and_still_follows_what_it_followed(setting):
    place = torch.backends
    for part in filter(None, setting.split(".")):
        place = getattr(place, part)
    place.fp32_precision = "tf32"
    before = precisions()
    with mount(Specimen(nn.Identity())):
        assert set(precisions()) == {"ieee"}
    assert precisions() == before
    if not setting:
        torch.backends.fp32_precision = "ieee"
        assert precisions()[:2] + precisions()[-3:] == 5 * ["ieee"]


@pytest.mark.usefixtures("precise_again")
def test_products_are_exact_even_where_the_user_allows_bfloat16():
    model = gauge.seeded(gauge.linear)
    exact = passed(model)
    torch.set_float32_matmul_precision("medium")
    assert torch.equal(passed(model), exact)


# Wrappers, devices, precisions


def test_wrappers_are_taken_off():
    model = gauge.seeded(gauge.ResidualNet)
    assert unwrap(nn.DataParallel(torch.compile(model, backend="eager"))) is model
    assert unwrap(model) is model
    with mount(Specimen(nn.DataParallel(model))) as mounted:
        assert mounted.model is model
    assert weights_hash(nn.DataParallel(model)) == weights_hash(model)


def test_a_distributed_wrapper_is_taken_off(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = gauge.seeded(gauge.linear)
        assert unwrap(DistributedDataParallel(model)) is model
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("default")  # what the compiler itself warns of while it is imported
def test_compiled_networks_run_as_written():
    calls = []

    def then(net, x):
        calls.append(torch.compiler.is_compiling())
        return net.inner(x)

    model = gauge.Calls(then, inner=torch.compile(gauge.Residual(), backend="eager"))
    compiled = torch.compile(model, backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(passed(compiled), passed(model))
    assert calls == [False, False]


@pytest.mark.parametrize("dtype", ["float64", torch.float64, "bfloat16", "float16"])
def test_another_precision_is_measured_on_a_copy(dtype):
    model = gauge.seeded(gauge.ResidualNet)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with mount(Specimen(model), dtype=dtype) as mounted:
        assert mounted.model is not model
        assert mounted.forward(gauge.images().to(mounted.dtype)).dtype == mounted.dtype
    assert mounted.dtype == (dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_networks_own_precision_is_kept_and_measured_on_itself():
    model = gauge.seeded(gauge.linear).double()
    with mount(Specimen(model)) as mounted:
        assert (mounted.model, mounted.dtype, mounted.device) == (model, torch.float64, torch.device("cpu"))
    with mount(Specimen(nn.ReLU())) as mounted:
        assert mounted.dtype == torch.float32


def test_a_network_of_buffers_alone_is_converted_too():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.ones(1, 3, 3, 3))

        def forward(self, x):
            return F.conv2d(x, self.kernel)

    assert passed(Fixed(), dtype="float64").dtype == torch.float64
    assert passed(Fixed().double()).dtype == torch.float64


def test_devices_and_precisions_that_do_not_exist_are_named():
    with pytest.raises(ArgumentError, match=r"device 'cuda:99' cannot be used here .*Try 'auto' or 'cpu'"):
        choose_device("cuda:99")
    with pytest.raises(ArgumentError, match=r"device 'gpu' cannot be used here"):
        choose_device("gpu")
    with pytest.raises(ArgumentError, match=r"no dtype 'float46'. Did you mean 'float64'\?"):
        passed(nn.Identity(), dtype="float46")
    with pytest.raises(ArgumentError, match=r"no dtype 32. Valid: bfloat16, float16"):
        passed(nn.Identity(), dtype=32)


def test_a_network_that_cannot_be_copied_is_measured_as_it_is_or_refused_in_words():
    model = gauge.Calls(lambda net, x: x)
    model.generator = (number for number in range(3))
    passed(model)
    with pytest.raises(SpecimenError, match=r"Calls cannot be copied to torch.float64 on cpu: .*generator.*dtype=None"):
        passed(model, dtype="float64")


@pytest.mark.parametrize("model", [nn.LazyLinear(3), nn.Linear(3, 3, device="meta")])
def test_weights_without_values_are_refused(model):
    with pytest.raises(SpecimenError, match=r"'weight' has no values yet \(a lazy layer, or the meta device\)"):
        passed(nn.Sequential(model)[0])


# Normalization


def test_normalization_and_its_inverse():
    specimen = Specimen(nn.Identity(), normalize=((0.1, 0.2, 0.3), (0.5, 0.25, 2.0)))
    x = gauge.images().double()
    with mount(specimen) as mounted:
        y = mounted.normalized(x)
        assert torch.allclose(y[:, 1], (x[:, 1] - 0.2) / 0.25, rtol=1e-12)
        assert torch.allclose(mounted.raw(y), x, rtol=1e-12)
    with mount(Specimen(nn.Identity(), normalize=(0.5, 0.5))) as mounted:
        assert torch.allclose(mounted.normalized(x), 2 * x - 1, rtol=1e-12)
    with mount(Specimen(nn.Identity())) as mounted:
        assert mounted.normalized(x) is x and mounted.raw(x) is x


def test_statistics_for_other_channels_than_the_images_have():
    with (
        mount(Specimen(nn.Identity(), normalize=((0.1, 0.2), (1, 1)), name="net")) as mounted,
        pytest.raises(SpecimenError, match=r"net: its normalization is for 2 channels, the images have 3 \(batch of shape \(8, 3"),
    ):
        mounted.normalized(gauge.images())


# Networks that change themselves


class Drifting(nn.Module):
    """Changes its own weights whenever it is called, in one of many ways."""

    def __init__(self, how):
        super().__init__()
        self.fc, self.spare, self.how = nn.Linear(192, 5), nn.Linear(2, 2), how

    def forward(self, x):
        with torch.no_grad():
            self.how(self)
        return self.fc(x.flatten(1))


def _other_parameter(net):
    net.fc.weight = nn.Parameter(torch.ones(5, 192))


def _other_storage(net):
    net.fc.weight.data = net.fc.weight.data * 2


def _further_parameter(net):
    net.register_parameter("late", nn.Parameter(torch.ones(1)))


WAYS = {
    "in place": lambda net: net.fc.weight.mul_(1.5),
    "behind the version counter": lambda net: net.fc.weight.data.neg_(),
    "one bit": lambda net: net.fc.weight.data[0, :1].copy_(torch.nextafter(net.fc.weight[0, :1], torch.tensor(9.0))),
    "other parameter": _other_parameter,
    "other storage": _other_storage,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_forward_pass_that_changes_its_own_weights_is_refused_and_undone(way):
    model = Drifting(WAYS[way])
    weight, before = model.fc.weight, model.fc.weight.detach().clone()
    place = weight.data_ptr()
    with pytest.raises(SpecimenError, match=r"Drifting: a forward pass changed the weights \['fc.weight'\]"):
        passed(model)
    assert model.fc.weight is weight and weight.data_ptr() == place
    assert torch.equal(weight, before)


def test_a_weight_made_on_the_way_is_refused_and_removed():
    model = Drifting(_further_parameter)
    with pytest.raises(SpecimenError, match=r"changed the weights \['late'\]"):
        passed(model)
    assert sorted(dict(model.named_parameters())) == ["fc.bias", "fc.weight", "spare.bias", "spare.weight"]


def test_weights_that_are_not_numbers_count_as_unchanged():
    model = gauge.linear()
    nn.init.constant_(model[1].weight, float("nan"))
    assert passed(model).isnan().all()


def test_an_exception_in_the_body_is_not_replaced_by_the_refusal():
    model = Drifting(WAYS["in place"])
    with pytest.raises(ZeroDivisionError), mount(Specimen(model)) as mounted:
        mounted.forward(gauge.images())
        raise ZeroDivisionError


# Batch norm by the statistics of the batch


@pytest.mark.parametrize("functional", [False, True])
def test_batch_statistics_are_those_of_training_mode_copy_by_copy(functional):
    norm = gauge.seeded(lambda: nn.BatchNorm2d(3))
    nn.init.uniform_(norm.weight)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = gauge.images(12)

    def then(x):
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias) if functional else norm(x)

    with torch.no_grad(), BatchStatistics() as statistics:
        statistics.copies = 3
        found = then(x)
        statistics.copies = 1
        whole = then(x)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    training = nn.BatchNorm2d(3)
    training.load_state_dict(norm.state_dict())
    with torch.no_grad():
        assert torch.allclose(found, torch.cat([training(part) for part in x.chunk(3)]), atol=1e-6)
        assert torch.allclose(whole, training(x), atol=1e-6)
        assert torch.equal(norm(x), F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))


# Which part is the output

T = torch.arange(6.0).view(2, 3)
Named = namedtuple("Named", "logits auxiliary")
RETURNS = {
    "tensor": (T, None),
    "only tensor of a tuple": ((T, None, "x"), None),
    "only tensor of a list": ([T], None),
    "only tensor of a dict": ({"features": T, "loss": None}, None),
    "logits of a dict": ({"hidden": -T, "logits": T}, None),
    "logits of an ordered dict with attributes": (gauge.HFOutput(hidden=-T, logits=T), None),
    "logits of a named tuple": (Named(T, -T), None),
    "logits of an object": (SimpleNamespace(logits=T, hidden=-T), None),
    "key": ({"a": -T, "b": T}, "b"),
    "index": ((-T, T), 1),
    "last": ((-T, T), -1),
    "attribute": (SimpleNamespace(a=-T, b=T), "b"),
    "name in a tuple": (Named(-T, T), "auxiliary"),
    "function": ((-T, {"deep": T}), lambda result: result[1]["deep"]),
    "part with one tensor": ({"a": (T, None), "b": -T}, "a"),
}


@pytest.mark.parametrize("case", RETURNS)
def test_the_output_that_is_meant(case):
    result, output = RETURNS[case]
    assert torch.equal(primary(result, Specimen(nn.Identity(), output=output)), T)


@pytest.mark.parametrize(
    ("result", "output", "words"),
    [
        (
            (T, T),
            None,
            r"the network returns a tuple of 2; which part is the output\? Say so with Specimen\(model",
        ),
        ({"a": T, "b": T}, None, r"returns a dict with keys \['a', 'b'\]; which part is the output"),
        (None, None, r"returns a NoneType; which part"),
        ("text", None, r"returns a str; which part"),
        ((T, T), 2, r"output=2, but the network returns a tuple of 2"),
        ({"a": T}, "b", r"output='b', but the network returns a dict with keys \['a'\]"),
        (T, 0, r"output=0, but the network returns a Tensor"),
        (T, "logits", r"output='logits', but the network returns a Tensor"),
        (SimpleNamespace(a=T), 0, r"output=0, but the network returns a SimpleNamespace"),
    ],
)
def test_an_output_that_cannot_be_told(result, output, words):
    with pytest.raises(SpecimenError, match=f"^net: .*{words}"):
        primary(result, Specimen(nn.Identity(), output=output, name="net"))


# Fingerprints


def test_the_hash_changes_with_every_weight_buffer_name_and_shape():
    model = gauge.seeded(gauge.ResidualNet)
    seen = {weights_hash(model)}
    for value in model.state_dict().values():
        value.view(-1)[-1:].add_(1)
        seen.add(weights_hash(model))
    assert len(seen) == 1 + len(model.state_dict())
    a, b = nn.Linear(2, 3, bias=False), nn.Linear(3, 2, bias=False)
    b.weight.data = a.weight.data.view(2, 3)
    assert len({weights_hash(a), weights_hash(b), weights_hash(nn.Sequential(a))}) == 3


def test_the_hash_does_not_depend_on_layout_and_takes_every_type():
    model = nn.Linear(4, 4)
    hashed = weights_hash(model)
    model.weight.data = model.weight.data.t().contiguous().t()
    assert weights_hash(model) == hashed
    for dtype in (torch.bfloat16, torch.complex64, torch.bool, torch.int64):
        model.register_buffer("extra", torch.ones(3, dtype=dtype))
        hashed, before = weights_hash(model), hashed
        assert hashed != before
    model.register_buffer("extra", torch.empty(0))
    assert len(weights_hash(model)) == 16


# Errors of the forward pass


def _fails(wrong):
    def then(net, x):
        raise wrong

    return then


@pytest.mark.parametrize(
    ("specimen", "shape", "words"),
    [
        (
            gauge.TwoInputs(),
            (3, 8, 8),
            r"shape \(8, 3, 8, 8\)\. TypeError: .*'y'\. A specimen is called with one",
        ),
        (gauge.ResidualNet(), (1, 8, 8), r"Its first convolution takes 3 channels, the images have 1\."),
        (
            Specimen(gauge.linear(), image_size=(8, 8)),
            (3, 9, 8),
            r"It was made for images of 8×8; try image_size=\(",
        ),
        (gauge.linear(), (3, 9, 7), r"shape \(8, 3, 9, 7\)\. RuntimeError: .*Was it made for images of 9×7\?"),
        (gauge.Calls(_fails(KeyError("pixel_values"))), (3, 8, 8), r"KeyError: 'pixel_values'\. "),
        (gauge.Calls(_fails(AssertionError())), (3, 8, 8), r"\. AssertionError\. "),
        (gauge.Calls(_fails(SpecimenError("as it is"))), (3, 8, 8), r"^as it is$"),
    ],
)
def test_a_forward_pass_that_fails_says_on_what_and_why(specimen, shape, words):
    with pytest.raises(SpecimenError, match=words) as failed:
        passed(specimen, gauge.images(8, shape))
    if not words.startswith("^"):
        assert f"{Specimen.of(specimen).name}: the forward pass failed on a batch of shape" in str(failed.value)


def test_running_out_of_memory_stays_what_it_is():
    with pytest.raises(torch.cuda.OutOfMemoryError):
        passed(gauge.Calls(_fails(torch.cuda.OutOfMemoryError("CUDA out of memory"))))


def test_scripted_networks_can_be_mounted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        model = torch.jit.script(gauge.linear())
    assert passed(model).shape == (8, 5)


def test_arrays_are_numbers_that_numpy_reads():
    assert np.isfinite(passed(gauge.linear()).numpy()).all()
