"""Tiny specimens whose answers are known on paper, like a machinist's blocks; their images are (3, 8, 8)."""

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from flexure import Specimen
from flexure.bench import mount
from flexure.results import Result


class Residual(nn.Module):
    """A residual block, everything in place that can be: every emission but the last is overwritten by a later op."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class ResidualNet(nn.Module):
    """A ResNet in small: stem, one stage of two blocks, pooling, classifier; functional ops between."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Residual(width), Residual(width))
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, x):
        x = self.layer1(self.relu(self.bn1(self.conv1(x * 2 - 1))))
        x = torch.cat([x, F.avg_pool2d(x, 3, 1, 1)], 1)
        x = F.relu(F.adaptive_avg_pool2d(1 - x, 1), inplace=True)
        return self.fc(torch.flatten(x, 1))


class Calls(nn.Module):
    """A convolution, and behind it whatever a test says: ``Calls(lambda net, x: x * 2)``; modules as keywords."""

    def __init__(self, then: Callable[["Calls", torch.Tensor], object], **modules: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.then = then
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.then(self, self.conv(x))


class TwoInputs(nn.Module):
    """Wants two things; a specimen is given one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x, y):
        return self.conv(x) + self.conv(y)


class HFOutput(OrderedDict):
    """An ordered dict with attributes, as Hugging Face models return."""

    def __getattr__(self, name):
        return self[name]


class Counting(nn.Module):
    """Counts its calls in buffers, also in evaluation mode: one written in place, one replaced, one made on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 5)
        self.register_buffer("in_place", torch.zeros(2))
        self.register_buffer("replaced", torch.zeros((), dtype=torch.int64))
        self.register_buffer("late", None)

    def forward(self, x):
        self.in_place += 1
        self.replaced = self.replaced + 1
        self.late = torch.ones(3)
        self.register_buffer("unknown", torch.ones(1))
        return self.fc(x.flatten(1))


class PatchTransformer(nn.Module):
    """A vision transformer in small, written by hand: patches, class token, positions, one pre-norm block."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 5, width))
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        normal = self.norm1(x)
        x = x + self.attention(normal, normal, normal)[0]
        x = x + self.mlp(self.norm2(x))
        return self.head(x[:, 0])


def linear(classes: int = 5) -> nn.Sequential:
    """A linear map of all pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))


def not_a_number_at(channel: int = 0) -> Calls:
    """One layer emits NaN for images whose first pixel is above 1/2 (before the convolution: its own copy is kept)."""

    def then(net, x):
        return net.relu(torch.where(x[:, channel : channel + 1, :1, :1] > 0, x, torch.nan)).nan_to_num().mean((2, 3))

    return Calls(then, relu=nn.ReLU())


def seeded(build: Callable[[], nn.Module], seed: int = 0, **buffers: float) -> nn.Module:
    """A network with weights that are the same every time, batch norms off their neutral state, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def images(n: int = 8, shape: tuple[int, int, int] = (3, 8, 8), seed: int = 0) -> torch.Tensor:
    """Uniform noise in [0, 1], the same every time."""
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


def passed(specimen, x=None, **options):
    """The output for some images."""
    with mount(Specimen.of(specimen), **options) as mounted:
        x = images() if x is None else x
        return mounted.forward(mounted.normalized(x.to(mounted.device, mounted.dtype)))


def result(**changes):
    """A result with a bit of everything."""
    table = pd.DataFrame(
        {
            "layer": ["conv", "<b>bn</b>", "output"],
            "D": [0.1, np.nan, np.inf],
            "D_se": np.array([1e-30, -0.0, np.nextafter(1, 2)]),
            "n": [3, 0, 2**53 + 1],
            "half": np.array([0.1, 2, 3], dtype=np.float32),
            "is_proven": [True, False, True],
            "status": ["measured", "constant output", "measured"],
        }
    )
    arrays = {
        "similarity": np.random.default_rng(0).normal(size=(4, 4)),
        "odd": np.array([np.nan, -0.0, np.inf], dtype=np.float16),
        "scalar": np.array(3.25),
        "empty": np.zeros((0, 3), dtype=np.int64),
        "transposed": np.arange(6, dtype=np.uint8).reshape(2, 3).T,
    }
    fields = {
        "probe": "sensitivity",
        "question": "How far? <script>alert(1)</script>",
        "table": table,
        "arrays": arrays,
        "units": {"D": "ratio", "similarity": "cosine"},
        "provenance": {"seed": 0, "settings": {"layers": ["a*"], "sigma": None}, "üñí": 0.1 + 0.2},
        "notes": ["two of 4 images <i>skipped</i>"],
    }
    return Result(**{**fields, **changes})
