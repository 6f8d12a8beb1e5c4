"""``flexure examine``: measure, tell how it goes, draw the page of what there is."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from flexure.cli.root import MODEL, Classes, Names, Normalization, Size, Trust, Weights, app, flag
from flexure.cli.show import is_main, numbers, say, show, stderr
from flexure.cli.watch import Watch

if TYPE_CHECKING:
    from flexure.runs.request import Request

__all__ = ["examine"]


@app.command
def examine(
    model: Annotated[str | None, MODEL] = None,
    /,
    *,
    weights: Weights = None,
    initial: Annotated[str | None, flag("Weights of the same network before training, to compare with.")] = None,
    data: Annotated[str | None, flag("digits, mnist, cifar10, folder:PATH, hub:NAME, …")] = None,
    root: Annotated[str | None, flag("Folder in which data sets lie.", "~/data")] = None,
    split: Annotated[str | None, flag("Part of the data set.", "test")] = None,
    probe: Annotated[Names, flag("Questions to ask.", "those that are not expensive", consume_multiple=True)] = None,
    limit: Annotated[int | None, flag("Measure a seeded, class-balanced sample of this size.", "all images")] = None,
    batch_size: Annotated[int | None, flag("Rows of one forward pass, at most.", "64")] = None,
    image_size: Size = None,
    normalize: Normalization = None,
    num_classes: Classes = None,
    seed: Annotated[int | None, flag("Every random number follows from it.", "0")] = None,
    device: Annotated[str | None, flag("auto, cpu, cuda, cuda:1, …", "auto")] = None,
    dtype: Annotated[str | None, flag("float32, float64, bfloat16 or float16.", "float32")] = None,
    out: Annotated[Path | None, flag("Run folder.", "a fresh runs/MODEL-DATA")] = None,
    resume: Annotated[bool, flag("Go on with the run in --out, which need not be described again.")] = False,
    settings: Annotated[Names, flag("Options, as PROBE.OPTION=VALUE.", name="--set", consume_multiple=True)] = None,
    config: Annotated[Path | None, flag("YAML file with all this, such as a run's spec.yaml; flags win.")] = None,
    trust: Trust = False,
    download: Annotated[bool, flag("Fetch a data set that is not under --root.")] = False,
) -> int:
    """Measure a network layer by layer; write a run folder and one page.

    Without arguments, train a small network on scikit-learn's digits and measure it before and after.
    """
    from flexure.runs.request import request

    size = numbers("--image-size", image_size, 1, 2)
    fields = {
        "model": model,
        "weights": weights,
        "initial": initial,
        "data": data,
        "root": root,
        "split": split,
        "limit": limit,
        "batch_size": batch_size,
        "image_size": size,
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
    return _carry_out(asked)


def _carry_out(asked: "Request") -> int:
    """Measure, tell how it goes, draw the page of what there is."""
    from flexure import distributed
    from flexure.runs.examine import IncompleteRunError

    with distributed.start():
        asked = asked.agreed()
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
    if is_main() and (folder / "spec.yaml").is_file():
        from flexure.runs.environment import command_line

        program = "__main__.py" if os.environ.get("LOCAL_WORLD_SIZE", "1") != "1" else "flexure"
        again = command_line([program, "examine", "--out", str(folder), "--resume"])
        print(f"stopped; what is finished is in {folder}. Go on with: {again}", file=sys.stderr)
