"""``flexure train``: train a network, measure what it has become, draw the page."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml

from flexure.cli.root import Classes, Names, Normalization, Size, Trust, app, flag
from flexure.cli.show import numbers, say, show, stderr
from flexure.cli.watch import Watch
from flexure.errors import ArgumentError

if TYPE_CHECKING:
    from flexure.runs.training_request import TrainingRequest

__all__ = ["train"]


@app.command
def train(
    net: Annotated[str | None, flag("One of our nets (small_cnn, LeNet, VGG11bn), timm:NAME, FILE.py:FACTORY.")] = None,
    data: Annotated[str | None, flag("digits, mnist, cifar10, folder:PATH, hub:NAME, …")] = None,
    /,
    *,
    epochs: Annotated[int | None, flag("Passes over the training images.", "20")] = None,
    lr: Annotated[float | None, flag("Step size of the first step.", "0.05")] = None,
    batch_size: Annotated[int | None, flag("Images per step.", "64")] = None,
    optimizer: Annotated[str | None, flag("sgd or adam.", "sgd")] = None,
    weight_decay: Annotated[float | None, flag("Added to the gradient, times the weights.", "0")] = None,
    schedule: Annotated[str | None, flag("cosine, constant, epoch_cosine (the papers'), …", "cosine")] = None,
    loss: Annotated[str | None, flag("cross_entropy or hinge.", "cross_entropy")] = None,
    augment: Annotated[Names, flag("crop, flip, diffeomorphism.", "none", consume_multiple=True)] = None,
    corruption: Annotated[float | None, flag("Norm of noise on training images.", "0")] = None,
    precision: Annotated[str | None, flag("float32, bfloat16 or float16.", "float32")] = None,
    width: Annotated[float | None, flag("Factor on the channels of our nets.", "1")] = None,
    weights: Annotated[str | None, flag("Weights to start from.", "fresh ones")] = None,
    root: Annotated[str | None, flag("Folder in which data sets lie.", "~/data")] = None,
    limit: Annotated[int | None, flag("Train on a seeded, class-balanced sample of this size.", "all images")] = None,
    test_limit: Annotated[int | None, flag("The same for the test images.", "all images")] = None,
    hold_out: Annotated[float | None, flag("Test on this share of the training images.", "own test images")] = None,
    image_size: Size = None,
    normalize: Normalization = None,
    num_classes: Classes = None,
    seed: Annotated[int | None, flag("Every random number follows from it.", "0")] = None,
    device: Annotated[str | None, flag("auto, cpu, cuda, cuda:1, …", "auto")] = None,
    threads: Annotated[int | None, flag("CPU threads.", "what torch chooses")] = None,
    measure: Annotated[str | None, flag("Weights to measure at the end: last, best or none.", "last")] = None,
    probe: Annotated[
        Names, flag("Questions to ask then.", "those that are not expensive", consume_multiple=True)
    ] = None,
    out: Annotated[Path | None, flag("Run folder.", "a fresh runs/NET-DATA-trained")] = None,
    resume: Annotated[bool, flag("Go on with the training in --out, which need not be described again.")] = False,
    settings: Annotated[
        Names, flag("FIELD=VALUE, FIELD.PART=VALUE or PROBE.OPTION=VALUE.", name="--set", consume_multiple=True)
    ] = None,
    config: Annotated[Path | None, flag("YAML file with all this, such as a run's spec.yaml; flags win.")] = None,
    trust: Trust = False,
    download: Annotated[bool, flag("Fetch a data set that is not under --root.")] = False,
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
    return _carry_out(
        training_request(given, probes=probe or (), settings=settings or (), config=config, out=out, resume=resume)
    )


def _carry_out(asked: "TrainingRequest") -> int:
    """Train and measure, tell how it goes, draw the page of what there is."""
    from flexure.runs.examine import IncompleteRunError

    watch = Watch(stderr())
    try:
        done = asked.carry_out(progress=watch, say=say)
    except KeyboardInterrupt:
        _explain_stop(asked.out)
        raise
    except IncompleteRunError as wrong:
        print(f"flexure: {wrong}", file=sys.stderr)
        show(wrong.run)
        return 1
    finally:
        watch.close()
    show(done)
    return 0


def _explain_stop(folder: Path) -> None:
    if (folder / "spec.yaml").is_file():
        from flexure.runs.environment import command_line

        again = command_line(["flexure", "train", "--out", str(folder), "--resume"])
        print(f"stopped; what is finished is in {folder}. Go on with: {again}", file=sys.stderr)


def _choice(name: str, text: str | None) -> Any:
    """A name, or ``{name: {option: value}}`` as YAML."""
    try:
        return None if text is None else yaml.safe_load(text)
    except yaml.YAMLError as wrong:
        told = "expected a name, or {name: {option: value}}"
        raise ArgumentError(f"{name} {text}: {told} ({' '.join(str(wrong).split())}).") from None
