"""What a training's spec names: the network before training, the images to train on, and those to test on."""

import dataclasses
import inspect
from dataclasses import dataclass
from functools import partial

import numpy as np

from flexure import data, models, rng
from flexure.data.folder import part_of
from flexure.data.manifolds import is_manifold, manifold_options
from flexure.data.memory import in_memory
from flexure.errors import ArgumentError, DataError, nearest
from flexure.models.nets import NETS
from flexure.models.twin import TWINS
from flexure.runs.choices import chosen
from flexure.runs.training_spec import TrainingSpec
from flexure.specimen import Specimen

__all__ = ["HELD_OUT", "Trainee", "check_net_options", "prepare_training", "to_measure"]

HELD_OUT = 0.2
"""Share of the images that is tested on where a data set has no test images of its own."""
_EMBEDDED = ("digits", "digits8")
_OF_THE_SPEC = {"num_classes", "channels", "width", "image_size"}


@dataclass(frozen=True)
class Trainee:
    """A network before training, and its images.

    Attributes:
        specimen: The network.
        images: What it is trained on.
        test: What it is tested on.
        notes: What was decided for the user, a sentence each.
    """

    specimen: Specimen
    images: data.Images
    test: data.Images
    notes: tuple[str, ...] = ()


def prepare_training(spec: TrainingSpec) -> Trainee:
    """The network and the images that a spec names.

    Raises:
        FlexureError: A file is missing, or network and images do not fit; the message says which.
    """
    train, test, notes = _images(spec)
    specimen = _network(spec, train)
    bounds = data.bounds_of(test) or specimen.bounds
    return Trainee(dataclasses.replace(specimen, bounds=bounds), in_memory(train), in_memory(test), notes)


def to_measure(spec: TrainingSpec, trainee: Trainee) -> data.Images:
    """The images that are measured once the network is trained.

    Raises:
        ArgumentError: There is no image of the label that is asked for.
    """
    images = trainee.images if spec.measure_on == "train" else trainee.test
    if spec.measure_label is not None:
        images = data.of_label(images, spec.measure_label)
    return data.sample(images, spec.measure_limit, seed=spec.seed)


def check_net_options(spec: TrainingSpec) -> None:
    """Look at the options of the network before it is built.

    Raises:
        ArgumentError: The network takes none, or has no such option.
    """
    if not spec.net_options:
        return
    net = NETS.get(spec.net.lower())
    if net is None:
        raise ArgumentError(f"net_options: {spec.net} takes none; they are for the networks of Flexure's own.")
    valid = set(inspect.signature(net.factory).parameters) - _OF_THE_SPEC
    for name in spec.net_options:
        if name in _OF_THE_SPEC:
            raise ArgumentError(f"net_options.{name}: a field of its own; write {name}: beside net:.")
        if name not in valid:
            known = nearest(name, valid) if valid else "It has none beside those with fields of their own."
            raise ArgumentError(f"net_options: {spec.net} has no option {name!r}. {known}")


def _images(spec: TrainingSpec) -> tuple[data.Images, data.Images, tuple[str, ...]]:
    """Images to train and to test on, and whether they were divided here."""
    if spec.hold_out is None and _has_parts(spec.data):
        return _load(spec, "train", spec.limit), _load(spec, "test", spec.test_limit), ()
    share = spec.hold_out or HELD_OUT
    kept, held = data.hold_out(_load(spec, "train", None), share, seed=spec.seed)
    note = f"Tested on {share:.0%} of the images, drawn by the seed, which were not trained on."
    train, test = data.sample(kept, spec.limit, seed=spec.seed), data.sample(held, spec.test_limit, seed=spec.seed)
    return train, test, (note,)


def _has_parts(name: str) -> bool:
    """Whether a data set has test images of its own."""
    name, _ = data.groups_in(name)
    if name in _EMBEDDED or (is_manifold(name) and manifold_options(name).get("draw") == "authors"):
        return False
    if name.startswith("folder:"):
        path = name.removeprefix("folder:")
        return part_of(path, "train") != part_of(path, "test")
    return True


def _load(spec: TrainingSpec, split: str, limit: int | None) -> data.Images:
    return data.load(
        spec.data,
        root=spec.root,
        limit=limit,
        seed=spec.seed,
        image_size=_image_size(spec),
        split=split,
        download=spec.download,
    )


def _image_size(spec: TrainingSpec) -> int | tuple[int, int] | None:
    """The size asked for, else that of the network; none for images that are made in a size of their own."""
    if spec.image_size is not None or data.is_made(spec.data):
        return spec.image_size
    net = NETS.get(spec.net.lower())
    return net.image_size if net is not None else models.resolve(spec.net, trust=spec.trust).image_size


def _network(spec: TrainingSpec, images: data.Images) -> Specimen:
    shape = tuple(images.read([_first_readable(images)]).x.shape[1:])
    ours = spec.net.lower() in NETS
    can_choose = ours or spec.net.startswith(("timm:", "torchvision:"))
    specimen = models.resolve(
        spec.net,
        weights=spec.weights if not spec.net_options else None,
        normalize=spec.normalize,
        image_size=(shape[1], shape[2]),
        num_classes=(spec.num_classes or _outputs(spec, images)) if can_choose else spec.num_classes,
        channels=(spec.channels or shape[0]) if ours else spec.channels,
        width=spec.width,
        trust=spec.trust,
        seed=spec.seed,
    )
    specimen = _with_options(spec, specimen) if spec.net_options else specimen
    return specimen if spec.twin is None else chosen("twin", spec.twin, TWINS)(specimen)


def _with_options(spec: TrainingSpec, specimen: Specimen) -> Specimen:
    """The network built once more, with its options."""
    factory = partial(specimen.factory or NETS[spec.net.lower()].factory, **spec.net_options)
    with rng.seeded(spec.seed):
        model = factory().eval()
    if spec.weights is not None:
        models.load_weights(model, spec.weights)
    return dataclasses.replace(specimen, model=model, factory=factory)


def _outputs(spec: TrainingSpec, images: data.Images) -> int:
    """As many as the loss needs; else as many as the labels need."""
    needed = getattr(spec.recipe().loss, "outputs", None)
    if needed is not None:
        return needed
    labels = data.labels_of(images)
    if labels is None:
        labels = np.concatenate([images.read([position]).y.numpy() for position in range(len(images))])
    return max(len(images.classes or ()), int(labels.max()) + 1, 2)


def _first_readable(images: data.Images) -> int:
    for position in range(len(images)):
        if len(images.read([position]).x):
            return position
    raise DataError(f"{images.name}: none of its {len(images)} images can be read.")
