"""Data by name: checked before anything is read."""

import dataclasses
import os
from pathlib import Path

from flexure import ecosystem
from flexure.data.dataset import as_images
from flexure.data.digits import digits, digits8
from flexure.data.folder import FolderImages, part_of
from flexure.data.groups import grouped, groups_in
from flexure.data.hub import hub_images
from flexure.data.idx import IDX, idx_images
from flexure.data.manifold_shapes import SHAPES
from flexure.data.manifolds import is_manifold, manifold, manifold_options
from flexure.data.pictures import Size, as_size
from flexure.data.sample import sample
from flexure.data.scale_detection import SCALE_DETECTION, is_scale_detection, options_in, scale_detection
from flexure.data.stream import Images
from flexure.data.tensors import TensorImages
from flexure.data.vision import VISION, vision_images
from flexure.errors import ArgumentError, DataError, nearest

__all__ = ["SPLITS", "check_name", "is_made", "load", "names"]

SPLITS = ("test", "train")

_EMBEDDED = {"digits": digits, "digits8": digits8}


def names() -> tuple[str, ...]:
    """Every name :func:`load` knows, beside ``folder:PATH`` and ``hub:NAME``."""
    return (*_EMBEDDED, *IDX, *VISION, *SCALE_DETECTION, *SHAPES)


def is_made(name: str) -> bool:
    """Whether these images are made, not read, in a size of their own which they keep."""
    return is_scale_detection(name) or is_manifold(name)


def check_name(name: str, *, split: str = "test") -> None:
    """Is this a name :func:`load` would accept? Reads no data.

    Raises:
        ArgumentError: It is not, or ``split`` is neither ``"test"`` nor ``"train"``; the message holds the nearest.
        DataError: ``folder:PATH`` names a folder that does not exist.
    """
    whole, (name, groups) = name, groups_in(name)
    if groups and is_made(name):
        raise ArgumentError(f"data {whole!r}: {name} is made with labels of its own, which are not grouped.")
    kind, colon, rest = name.partition(":")
    if colon and kind in ("folder", "hub") and not rest:
        raise ArgumentError(f"data {name!r}: nothing after the colon; say folder:PATH or hub:NAME.")
    if split not in SPLITS and kind != "hub":
        raise ArgumentError(f"data {name!r}: no split {split!r}. {nearest(split, SPLITS)}")
    if colon and kind == "folder":
        part_of(rest, split)
    elif is_scale_detection(name):
        options_in(name)
    elif is_manifold(name):
        manifold_options(name)
    elif not (colon and kind == "hub") and name not in names():
        hint = f" {name} is a folder: use folder:{name}" if Path(name).expanduser().is_dir() else ""
        raise ArgumentError(f"no data set {name!r}. {nearest(name, [*names(), 'folder:PATH', 'hub:NAME'])}{hint}")


def load(
    name: str,
    *,
    root: str | os.PathLike | None = None,
    limit: int | None = None,
    seed: int = 0,
    image_size: int | Size | None = None,
    split: str = "test",
    download: bool = False,
) -> Images:
    """Which images shall the network be shown?

    Args:
        name: ``digits`` (scikit-learn's, enlarged to 28 x 28) or ``digits8`` (as they are), neither of which needs a
            file nor has splits: all 1,797 images come; ``mnist``, ``fashion-mnist``, ``kmnist`` (IDX files under
            ``root``, as torchvision lays them out); ``cifar10`` and the others of :func:`names` (through torchvision);
            ``scale-detection-1d``, ``scale-detection-2d`` and both with ``-blocks`` at the end, which are made, not
            read (:class:`~flexure.data.ScaleDetection`: 1,024 training images unless ``limit`` says otherwise), with
            its options behind a colon (``scale-detection-1d:side=64,scale=16``); ``torus-curves``, ``folded-boxes``,
            ``double-helix``, ``two-cosines``, ``two-spheres`` and ``two-cycles``, points of which each is an image of
            one row (:class:`~flexure.data.Manifold`: 100 unless ``limit`` says otherwise);
            ``folder:PATH`` (class folders, or ``train`` and ``test`` folders of them); ``hub:NAME`` (Hugging Face).
            Those that are read can be followed by groups of classes: ``mnist:groups=3+9/5+8`` has the images of 3 and
            9 under label 0, those of 5 and 8 under label 1, and no others (:func:`flexure.data.grouped`).
        root: Where data sets lie; ``~/data`` unless given.
        limit: Images wanted: a seeded sample in which class counts differ by at most one
            (:func:`flexure.data.balanced`); an image keeps its index in the full set. None: all.
        seed: Seed of the sample.
        image_size: ``(height, width)`` or one side: images are resized (bilinear, antialiased) until they just cover
            it, and the center is cut out. None: as they are, all of one size.
        split: ``"test"`` or ``"train"``; for ``hub:`` any split it has.
        download: Fetch what is missing under ``root``; never done unless asked for.

    Returns:
        Images in [0, 1], ``(C, H, W)``; those that are made have pixels of other values.

    Raises:
        ArgumentError: No such name or split (the nearest is suggested), or a ``limit`` or ``image_size`` below 1;
            found before anything is read.
        DataError: A file or folder is missing or damaged, there is no image, or sizes differ.
        MissingPackageError: torchvision or datasets is needed and not installed.

    >>> images = load("digits", limit=20, seed=0)
    >>> len(images), tuple(images.read([0, 1]).x.shape)
    (20, (2, 1, 28, 28))
    """
    check_name(name, split=split)
    size = as_size(image_size)
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit must be at least 1; got {limit}. Leave it out to use every image.")
    plain, groups = groups_in(name)
    if groups:
        whole = load(plain, root=root, seed=seed, image_size=image_size, split=split, download=download)
        return sample(grouped(whole, groups), limit, seed=seed)
    if is_scale_detection(name):
        if size is not None:
            raise ArgumentError(
                f"data {name!r}: image_size cannot be set: resizing would change the distances that are to be told. "
                "Other sizes come by name, such as scale-detection-2d:side=56,scale=28."
            )
        return scale_detection(name, split=split, size=limit, seed=seed)
    if is_manifold(name):
        points = manifold(name, split=split, size=limit, seed=seed)
        if size not in (None, (1, points.dimensions)):
            raise ArgumentError(f"data {name!r}: points of {points.dimensions} coordinates have no other image_size.")
        return points
    if name.startswith("folder:"):
        return FolderImages(part_of(name.removeprefix("folder:"), split), limit=limit, seed=seed, image_size=size)
    place = Path("~/data" if root is None else root).expanduser()
    return sample(as_images(_all_images(name, place, split, size, download)), limit, seed=seed)


def _all_images(name: str, root: Path, split: str, size: Size | None, download: bool) -> Images:
    if name.startswith("hub:"):
        return hub_images(name.removeprefix("hub:"), split, download=download, image_size=size)
    if name in VISION:
        return vision_images(name, root, split, download=download, image_size=size)
    found = _EMBEDDED[name]() if name in _EMBEDDED else _idx(name, root, split, download)
    return dataclasses.replace(found, image_size=size)


def _idx(name: str, root: Path, split: str, download: bool) -> TensorImages:
    try:
        return idx_images(name, root, split)
    except DataError:
        if not download:
            raise
        getattr(ecosystem.torchvision().datasets, IDX[name])(str(root), download=True)
        return idx_images(name, root, split)
