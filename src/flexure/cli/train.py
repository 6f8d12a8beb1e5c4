"""``flexure train``: train a network, measure what it has become, draw the page."""

from pathlib import Path
from typing import Annotated, Any

import yaml

from flexure.cli import flags
from flexure.cli.carry_out import carry_out
from flexure.cli.root import Names, app, flag
from flexure.cli.show import numbers
from flexure.errors import ArgumentError

__all__ = ["train"]


@app.command
def train(
    net: Annotated[str | None, flag("One of our nets (small_cnn, LeNet, VGG11bn), timm:NAME, FILE.py:FACTORY.")] = None,
    data: flags.Data = None,
    /,
    *,
    epochs: Annotated[int | None, flag("Passes over the training images.", "20")] = None,
    lr: Annotated[float | None, flag("Step size of the first step.", "0.05")] = None,
    batch_size: Annotated[int | None, flag("Images per step.", "64")] = None,
    optimizer: Annotated[str | None, flag("sgd or adam.", "sgd")] = None,
    weight_decay: Annotated[float | None, flag("Added to the gradient, times the weights.", "0")] = None,
    schedule: Annotated[str | None, flag("cosine, constant, epoch_cosine (the papers'), …", "cosine")] = None,
    loss: Annotated[
        str | None, flag("cross_entropy, hinge, squared, binary_cross_entropy or cost_sensitive.", "cross_entropy")
    ] = None,
    augment: Annotated[Names, flag("crop, flip, diffeomorphism.", "none", consume_multiple=True)] = None,
    corruption: Annotated[float | None, flag("Norm of noise on training images.", "0")] = None,
    precision: Annotated[str | None, flag("float32, bfloat16 or float16.", "float32")] = None,
    width: Annotated[float | None, flag("Factor on the channels of our nets.", "1")] = None,
    weights: Annotated[str | None, flag("Weights to start from.", "fresh ones")] = None,
    root: flags.Root = None,
    limit: Annotated[int | None, flag("Train on a seeded, class-balanced sample of this size.", "all images")] = None,
    test_limit: Annotated[int | None, flag("The same for the test images.", "all images")] = None,
    hold_out: Annotated[float | None, flag("Test on this share of the training images.", "own test images")] = None,
    image_size: flags.Size = None,
    normalize: flags.Normalization = None,
    num_classes: flags.Classes = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    threads: Annotated[int | None, flag("CPU threads.", "what torch chooses")] = None,
    measure: Annotated[str | None, flag("Weights to measure at the end: last, best or none.", "last")] = None,
    probe: flags.Probes = None,
    out: Annotated[Path | None, flag("Run folder.", "a fresh runs/NET-DATA-trained")] = None,
    resume: Annotated[bool, flag("Go on with the training in --out, which need not be described again.")] = False,
    settings: Annotated[
        Names, flag("FIELD=VALUE, FIELD.PART=VALUE or PROBE.OPTION=VALUE.", name="--set", consume_multiple=True)
    ] = None,
    config: flags.Config = None,
    trust: flags.Trust = False,
    download: flags.Download = False,
) -> int:
    """Train a network and measure it before and after; write a run folder and one page.

    Ctrl-C saves; --resume then leads to the same weights as if nothing had happened.
    """
    from flexure.runs.training_request import training_request

    fields = {
        "net": net,
        "data": data,
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "weight_decay": weight_decay,
        "schedule": _choice("--schedule", schedule),
        "loss": _choice("--loss", loss),
        "augment": [_choice("--augment", one) for one in augment] if augment else None,
        "corruption": corruption,
        "precision": precision,
        "width": width,
        "weights": weights,
        "root": root,
        "limit": limit,
        "test_limit": test_limit,
        "hold_out": hold_out,
        "image_size": numbers("--image-size", image_size, 1, 2),
        "normalize": normalize,
        "num_classes": num_classes,
        "seed": seed,
        "device": device,
        "threads": threads,
        "measure": measure,
        "trust": trust or None,
        "download": download or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    asked = training_request(given, probes=probe or (), settings=settings or (), config=config, out=out, resume=resume)
    return carry_out(asked, "train")


def _choice(name: str, text: str | None) -> Any:
    """A name, or ``{name: {option: value}}`` as YAML."""
    try:
        return None if text is None else yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        told = "expected a name, or {name: {option: value}}"
        raise ArgumentError(f"{name} {text}: {told} ({' '.join(str(wrong).split())}).") from None
