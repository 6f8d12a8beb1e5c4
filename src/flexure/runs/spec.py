"""What was asked for: a measurement's settings."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt

from flexure.runs.fields import Fields

__all__ = ["Spec", "check_names", "schema"]

Number = float | list[float] | tuple[float, ...]


class Spec(Fields):
    """Everything that decides what a run measures; extra fields are refused.

    >>> Spec(model="resnet20", data="digits").hash == Spec(model="resnet20", data="digits", trust=True).hash
    True
    """

    model_config = ConfigDict(title="Flexure run")
    subject = "model"
    kind = "measurement"
    incidental = Fields.incidental | {"root"}  # where the data lie; which they are is in data_hash

    model: str = Field(description="MODEL: a name of ours, timm:NAME, torchvision:NAME, FILE.py:FACTORY or FILE.pt2.")
    weights: str | None = Field(None, description="Weights file: .safetensors, or .pt/.pth/.ckpt without pickled code.")
    initial: str | None = Field(None, description="Weights file of the same network before training, to compare with.")
    normalize: str | tuple[Number, Number] | None = Field(
        None, description="Name of a normalization, or mean and standard deviation; by default what the model brings."
    )
    num_classes: PositiveInt | None = Field(None, description="Number of outputs, where the model lets one choose.")
    data: str = Field(description="DATA: digits, mnist, cifar10, folder:PATH, hub:NAME, …")
    root: str | None = Field(None, description="Folder in which data sets lie.")
    split: str = Field("test", description="Part of the data set, where it has parts.")
    hold_out: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Measure only this share of the images, which a training with this seed leaves out.",
    )
    limit: PositiveInt | None = Field(
        None, description="Size of a seeded, class-balanced sample; by default all images."
    )
    image_size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="Images are brought to this size (one number, or height and width)."
    )
    probes: dict[str, dict[str, Any]] = Field(default_factory=dict, description="Options by probe.")
    seed: NonNegativeInt = Field(0, description="Every random number follows from it.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = Field(
        "float32", description="Numbers of the network."
    )
    batch_size: PositiveInt = Field(64, description="Images per forward pass.")
    threads: PositiveInt | None = Field(None, description="CPU threads of a process; by default what torch chooses.")
    trust: bool = Field(False, description="Run an exported program (.pt2), which may execute code.")
    download: bool = Field(False, description="Fetch the data set if it is not under root.")
    weights_hash: str | None = Field(None, description="Written by a run: hash of the network's weights.")
    data_hash: str | None = Field(None, description="Written by a run: hash of the images' identity.")


def check_names(spec: Spec, *, trained: bool = True) -> None:
    """Look at every name and option before weights or data are read.

    Args:
        spec: What is asked for.
        trained: Whether the weights' files have to be there already.

    Raises:
        ArgumentError: A model, data set, device, probe or option is unknown; the nearest name is given.
        FlexureError: A file or folder that is named does not exist, or a package is missing.
    """
    from flexure.bench import choose_device
    from flexure.data import check_name
    from flexure.models import as_normalization, check_model_name
    from flexure.runs.options import check_options

    for weights in (spec.weights, spec.initial) if trained else (None,):
        check_model_name(spec.model, weights=weights, trust=spec.trust)
    check_name(spec.data, split=spec.split)
    if spec.normalize is not None:
        as_normalization(spec.normalize)
    choose_device(spec.device)
    check_options(spec.probes)


def schema() -> dict[str, Any]:
    """The JSON schema of a spec, which editors use to complete and check a YAML file as it is written."""
    return Spec.model_json_schema()
