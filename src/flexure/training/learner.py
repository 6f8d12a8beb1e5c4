"""A network in training: from raw images to a step of its weights, and from test images to how good it is."""

import math
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import nn

from flexure import rng
from flexure.bench import Mounted, choose_device
from flexure.data.stream import Batch, Images
from flexure.errors import DataError, SpecimenError
from flexure.losses import answers
from flexure.specimen import Specimen
from flexure.training.recipe import DECAYS, OPTIMIZERS, PRECISIONS, Recipe
from flexure.training.tally import Tally

__all__ = ["Learner", "labelled", "outputs_of", "reseed"]

_TEST_ROWS = 256  # images of a forward pass of the test, at least


class Learner:
    """A network with its optimizer.

    Attributes:
        mounted: The network, where it is trained, with the way from raw images to its input.
        recipe: How to train it.
        optimizer: Its optimizer.
        scaler: Scales the loss where numbers are float16, so that small gradients do not vanish; else does nothing.
    """

    def __init__(self, specimen: Specimen, recipe: Recipe, device: str | torch.device | None) -> None:
        model = specimen.model.to(choose_device(device, specimen.model))
        own = next((p for p in model.parameters() if p.requires_grad and p.is_floating_point()), None)
        if own is None:
            raise SpecimenError(f"{specimen.name}: it has no parameters that can be trained.")
        self.mounted = Mounted(model, specimen, own.device, own.dtype)
        self.recipe = recipe
        self.optimizer = _optimizer(model, recipe)
        self.scaler = torch.amp.GradScaler(own.device.type, enabled=recipe.precision == "float16")

    def step(self, batch: Batch, epoch: int) -> Tally:
        """One step on one batch; losses and right answers are those before the step.

        Raises:
            SpecimenError: The loss is not finite; the weights are as before the step.
        """
        y = batch.y.to(self.mounted.device)
        with self._casts():
            outputs = outputs_of(self.mounted, self._input(batch, epoch), batch)
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        losses = self.recipe.loss(outputs, y)
        tally = Tally.of(losses, answers(outputs.detach(), self.recipe.loss), y)
        if not math.isfinite(tally.loss):
            return tally
        total = losses.mean()
        if self.recipe.penalty is not None:
            total = total + self.recipe.penalty(self.mounted.model)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return tally

    @torch.no_grad()
    def test(self, images: Images) -> Tally:
        """Losses and right answers on these images; the network has to be in evaluation mode.

        Raises:
            DataError: None of them can be read.
        """
        found = Tally()
        for positions in torch.arange(len(images)).split(max(_TEST_ROWS, self.recipe.batch_size)):
            batch = labelled(images, positions.tolist())
            found.skipped += len(batch.skipped)
            if len(batch.y):
                outputs = outputs_of(self.mounted, self.mounted.normalized(self._raw(batch)), batch)
                y = batch.y.to(self.mounted.device)
                found.add(Tally.of(self.recipe.loss(outputs, y), answers(outputs, self.recipe.loss), y))
        if not found.n:
            raise DataError(f"{images.name}: none of its {len(images)} images can be read.")
        return found

    def set_lr(self, lr: float) -> None:
        """Make the next steps of this size."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def state(self) -> dict[str, torch.Tensor]:
        """Weights, buffers and the optimizer's memory, by name; the tensors themselves, not copies."""
        found = {f"model.{name}": value for name, value in self.mounted.model.state_dict().items()}
        for number, memory in self.optimizer.state_dict()["state"].items():
            kept = {name: value for name, value in memory.items() if isinstance(value, torch.Tensor)}
            found |= {f"optimizer.{number}.{name}": value for name, value in kept.items()}
        return found

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what :meth:`state` gave."""
        weights = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
        self.mounted.model.load_state_dict(weights)
        memory: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, number, key = name.split(".", 2)
                memory.setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": memory})

    def _input(self, batch: Batch, epoch: int) -> torch.Tensor:
        """The batch as the network sees it: changed, normalized, corrupted."""
        x, keys = self._raw(batch), batch.index.to(self.mounted.device)
        for change in self.recipe.augment:
            x = change(x, keys, seed=self.recipe.seed, draw=epoch)
        x = self.mounted.normalized(x)
        if self.recipe.corruption is not None:
            x = self.recipe.corruption(x, keys, seed=self.recipe.seed, draw=epoch)
        return x

    def _raw(self, batch: Batch) -> torch.Tensor:
        return batch.x.to(device=self.mounted.device, dtype=self.mounted.dtype)

    def _casts(self) -> AbstractContextManager[object]:
        dtype = PRECISIONS[self.recipe.precision]
        return nullcontext() if dtype is None else torch.autocast(self.mounted.device.type, dtype=dtype)


def outputs_of(mounted: Mounted, x: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The outputs ``(b, q)`` for normalized images, one per class or a single one for two classes.

    Raises:
        SpecimenError: They have another shape.
        DataError: There is an image of a class without an output.
    """
    outputs = mounted.forward(x)
    name = mounted.specimen.name
    if outputs.ndim != 2:
        raise SpecimenError(f"{name}: expected logits (batch, classes); got shape {tuple(outputs.shape)}.")
    classes, largest = max(outputs.shape[1], 2), int(batch.y.max())
    if largest >= classes:
        told = f"{name} has outputs for classes 0 to {classes - 1}, but there is an image of class {largest}."
        if outputs.shape[1] == 1:
            raise DataError(f"{told} One output tells two classes apart: for more, use cross-entropy.")
        raise DataError(f"{told} Other data, or a network with num_classes={largest + 1}?")
    return outputs


def labelled(images: Images, positions: Sequence[int]) -> Batch:
    """Images at these positions, every one with its label.

    Raises:
        DataError: One has none.
    """
    batch = images.read(positions)
    if (batch.y < 0).any():
        first = int(batch.index[batch.y < 0][0])
        raise DataError(f"{images.name}: image {first} has no label; a class index is needed for each.")
    return batch


def reseed(seed: int, step: int) -> None:
    """Seed the global generators of Python, NumPy and torch for one step, which dropout then draws from."""
    word, other = rng.key(seed, f"training step {step}")
    random.seed(word)
    np.random.seed(word)  # noqa: NPY002
    whole = (other >> 1 << 32) + word
    torch.default_generator.manual_seed(whole)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(whole)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer, with weight decay on the parameters it is meant for."""
    decays = DECAYS[recipe.decay]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in wanted if decays(p)], "weight_decay": recipe.weight_decay},
        {"params": [p for p in wanted if not decays(p)], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[recipe.optimizer]([group for group in groups if group["params"]], recipe)
