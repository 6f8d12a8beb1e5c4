"""The bench: what is measured, in which state, and how it is left."""

import gauge
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from flexure import Specimen
from flexure.bench import choose_device, mount, unwrap, weights_hash
from flexure.errors import ArgumentError, SpecimenError

# The state in which networks are measured


def test_a_network_in_training_mode_is_measured_in_evaluation_mode():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 5))
    assert model.training
    assert torch.equal(gauge.passed(model), gauge.passed(model))


def test_there_are_no_gradients_no_autocast_and_normal_tensors_inside():
    state = []

    def then(net, x):
        state.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), x.dtype, x.is_inference()))
        return x

    model = gauge.Calls(then)
    gauge.passed(model)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        gauge.passed(model)
    assert state == [(False, False, torch.float32, False)] * 2


def test_a_network_may_use_autocast_inside():
    def then(net, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net.fc(x)

    assert gauge.passed(gauge.Calls(then, fc=nn.Conv2d(4, 2, 1))).dtype == torch.bfloat16


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
    exact = gauge.passed(model)
    torch.set_float32_matmul_precision("medium")
    assert torch.equal(gauge.passed(model), exact)


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

    class Inner(nn.Module):
        def forward(self, x):
            calls.append(torch.compiler.is_compiling())
            return x + 1

    model = gauge.Calls(lambda net, x: net.inner(x), inner=torch.compile(Inner(), backend="eager"))
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(gauge.passed(compiled), gauge.passed(model))
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

    assert gauge.passed(Fixed(), dtype="float64").dtype == torch.float64
    assert gauge.passed(Fixed().double()).dtype == torch.float64


def test_devices_and_precisions_that_do_not_exist_are_named():
    with pytest.raises(ArgumentError, match=r"device 'cuda:99' cannot be used here .*Try 'auto' or 'cpu'"):
        choose_device("cuda:99")
    with pytest.raises(ArgumentError, match=r"device 'gpu' cannot be used here"):
        choose_device("gpu")
    with pytest.raises(ArgumentError, match=r"no dtype 'float46'. Did you mean 'float64'\?"):
        gauge.passed(nn.Identity(), dtype="float46")
    with pytest.raises(ArgumentError, match=r"no dtype 32. Valid: bfloat16, float16"):
        gauge.passed(nn.Identity(), dtype=32)


def test_a_network_that_cannot_be_copied_is_measured_as_it_is_or_refused_in_words():
    model = gauge.Calls(lambda net, x: x)
    model.generator = (number for number in range(3))
    gauge.passed(model)
    with pytest.raises(SpecimenError, match=r"Calls cannot be copied to torch.float64 on cpu: .*generator.*dtype=None"):
        gauge.passed(model, dtype="float64")


@pytest.mark.parametrize("model", [nn.LazyLinear(3), nn.Linear(3, 3, device="meta")])
def test_weights_without_values_are_refused(model):
    with pytest.raises(SpecimenError, match=r"'weight' has no values yet \(a lazy layer, or the meta device\)"):
        gauge.passed(nn.Sequential(model)[0])


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
        pytest.raises(
            SpecimenError, match=r"net: its normalization is for 2 channels, the images have 3 \(batch of shape \(8, 3"
        ),
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
        gauge.passed(model)
    assert model.fc.weight is weight and weight.data_ptr() == place
    assert torch.equal(weight, before)


def test_a_weight_made_on_the_way_is_refused_and_removed():
    model = Drifting(_further_parameter)
    with pytest.raises(SpecimenError, match=r"changed the weights \['late'\]"):
        gauge.passed(model)
    assert sorted(dict(model.named_parameters())) == ["fc.bias", "fc.weight", "spare.bias", "spare.weight"]


def test_weights_that_are_not_numbers_count_as_unchanged():
    model = gauge.linear()
    nn.init.constant_(model[1].weight, float("nan"))
    assert gauge.passed(model).isnan().all()


def test_an_exception_in_the_body_is_not_replaced_by_the_refusal():
    model = Drifting(WAYS["in place"])
    with pytest.raises(ZeroDivisionError), mount(Specimen(model)) as mounted:
        mounted.forward(gauge.images())
        raise ZeroDivisionError
