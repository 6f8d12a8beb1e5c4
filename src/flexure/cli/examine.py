"""``flexure examine``: measure, tell how it goes, draw the page of what there is."""

from pathlib import Path
from typing import Annotated

from flexure.cli import flags
from flexure.cli.carry_out import carry_out
from flexure.cli.root import Names, app, flag
from flexure.cli.show import numbers

__all__ = ["examine"]


@app.command
def examine(
    model: Annotated[str | None, flags.MODEL] = None,
    /,
    *,
    weights: flags.Weights = None,
    initial: Annotated[str | None, flag("Weights of the same network before training, to compare with.")] = None,
    data: flags.Data = None,
    root: flags.Root = None,
    split: Annotated[str | None, flag("Part of the data set.", "test")] = None,
    probe: flags.Probes = None,
    limit: Annotated[int | None, flag("Measure a seeded, class-balanced sample of this size.", "all images")] = None,
    batch_size: Annotated[int | None, flag("Rows of one forward pass, at most.", "64")] = None,
    image_size: flags.Size = None,
    normalize: flags.Normalization = None,
    num_classes: flags.Classes = None,
    seed: flags.Seed = None,
    device: flags.Device = None,
    dtype: Annotated[str | None, flag("float32, float64, bfloat16 or float16.", "float32")] = None,
    out: Annotated[Path | None, flag("Run folder.", "a fresh runs/MODEL-DATA")] = None,
    resume: Annotated[bool, flag("Go on with the run in --out, which need not be described again.")] = False,
    settings: Annotated[Names, flag("Options, as PROBE.OPTION=VALUE.", name="--set", consume_multiple=True)] = None,
    config: flags.Config = None,
    trust: flags.Trust = False,
    download: flags.Download = False,
) -> int:
    """Measure a network layer by layer; write a run folder and one page.

    Without arguments, train a small network on scikit-learn's digits and measure it before and after.
    """
    from flexure import distributed
    from flexure.runs.request import request

    fields = {
        "model": model,
        "weights": weights,
        "initial": initial,
        "data": data,
        "root": root,
        "split": split,
        "limit": limit,
        "batch_size": batch_size,
        "image_size": numbers("--image-size", image_size, 1, 2),
        "normalize": normalize,
        "num_classes": num_classes,
        "seed": seed,
        "device": device,
        "dtype": dtype,
        "trust": trust or None,
        "download": download or None,
    }
    given = {name: value for name, value in fields.items() if value is not None}
    asked = request(given, probes=probe or (), settings=settings or (), config=config, out=out, resume=resume)
    with distributed.start():
        return carry_out(asked.agreed(), "examine")
