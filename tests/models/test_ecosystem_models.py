"""Networks of timm and torchvision with random weights at 224 x 224: needs the optional packages."""

import pytest
import torch

from flexure import ecosystem, resolve
from flexure.bench import mount
from flexure.errors import ArgumentError, MissingPackageError, SpecimenError
from flexure.models import check_model_name, reinitialized
from flexure.recorder import Recorder


@pytest.fixture(autouse=True)
def packages():
    try:
        ecosystem.timm()
    except MissingPackageError as wrong:
        pytest.skip(str(wrong))


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "normalize"),
    [("torchvision:resnet18", IMAGENET), ("timm:vit_tiny_patch16_224", HALF), ("timm:resnet18.a1_in1k", IMAGENET)],
)
def test_random_weights_normalization_and_image_size(name, normalize):
    specimen = resolve(name)
    assert (specimen.normalize, specimen.image_size, specimen.bounds) == (normalize, (224, 224), (0, 1))
    with mount(specimen) as mounted:
        y = mounted.forward(mounted.normalized(torch.rand(1, 3, 224, 224)))
    assert y.shape == (1, 1000)
    assert y.isfinite().all()


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:vit_tiny_patch16_224"])
def test_fresh_weights_come_from_the_seed(name):
    specimen = resolve(name, num_classes=3, seed=0)
    assert resolve(name, num_classes=3, seed=0).model.state_dict().keys() == specimen.model.state_dict().keys()
    one, again, other = (next(reinitialized(specimen, seed).parameters()) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(one, next(specimen.model.parameters()))


@pytest.mark.filterwarnings("ignore")  # torchvision's own, of what its networks do in training
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet"])
def test_names_and_order_of_all_ops_equal_those_of_torchvisions_tracer(name):
    from torchvision.models.feature_extraction import get_graph_node_names

    specimen = resolve(f"torchvision:{name}")
    specimen.model.eval()
    seen = []
    with torch.no_grad(), Recorder(specimen.model, lambda emission: seen.append(emission.name)) as recorder:
        recorder.begin()
        specimen.model(torch.rand(1, 3, 224, 224))
    assert seen == [name for name in get_graph_node_names(specimen.model)[1] if name != "x"]


def test_a_wrong_name_is_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match=r"torchvision has no model 'resnet19'. Did you mean 'resnet18'"):
        check_model_name("torchvision:resnet19")
    with pytest.raises(ArgumentError, match=r"timm has no model 'vit_tin'. Did you mean 'vit_tiny_"):
        check_model_name("timm:vit_tin")


def test_trained_weights_that_cannot_be_had_are_an_error_of_ours(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(SpecimenError, match="torchvision:resnet18 cannot be built"):
        resolve("torchvision:resnet18", weights="pretrained")
    with pytest.raises(ArgumentError, match="its trained weights have their own classes; leave num_classes out"):
        resolve("torchvision:resnet18", weights="pretrained", num_classes=3)


def test_an_exported_vision_transformer_keeps_its_names(tmp_path):
    specimen = resolve("timm:vit_tiny_patch16_224", num_classes=3)
    program = torch.export.export(specimen.model, (torch.rand(2, 3, 224, 224),))
    torch.export.save(program, tmp_path / "vit.pt2")
    exported = resolve(str(tmp_path / "vit.pt2"), trust=True)
    x, names = torch.rand(3, 3, 224, 224), {}
    for model in (specimen.model, exported.model):
        seen = names.setdefault(model, [])
        with torch.no_grad(), Recorder(model, lambda emission, seen=seen: seen.append(emission.name)) as recorder:
            recorder.begin()
            model(x)
    original, found = names.values()
    layers = [name for name, module in specimen.model.named_modules() if type(module) is torch.nn.Linear]
    assert set(layers) <= set(found) & set(original)
    torch.testing.assert_close(exported.model(x), specimen.model(x), atol=1e-4, rtol=1e-4)
