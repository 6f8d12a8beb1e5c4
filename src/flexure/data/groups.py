"""Several classes under one label, the other classes left out; what each image was before stays known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flexure.data.sample import Selected
from flexure.data.stream import Batch, Images, labels_of, notes_of, own_labels_of
from flexure.errors import ArgumentError, nearest

__all__ = ["Relabelled", "grouped", "groups_in", "of_label"]

_MARK = ":groups="


@dataclass(frozen=True, eq=False)
class Relabelled:
    """The images of another set under other labels.

    Attributes:
        base: The set.
        labels: New class index of each ``(n,)``, int64.
        classes: Names of the new classes.
        name: As printed on the page.
    """

    base: Images
    labels: np.ndarray
    classes: tuple[str, ...] | None
    name: str

    @property
    def indices(self) -> np.ndarray:
        """Index in the full set of each image."""
        return self.base.indices

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the full set."""
        return notes_of(self.base)

    def __len__(self) -> int:
        return len(self.base)

    def read(self, positions: Sequence[int]) -> Batch:
        """The images at these positions."""
        batch = self.base.read(positions)
        at = np.searchsorted(self.indices, batch.index.cpu().numpy())
        return Batch(batch.x, torch.from_numpy(self.labels[at]).to(batch.y.device), batch.index, batch.skipped)


def groups_in(name: str) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The name of a data set without its groups of classes, and the groups.

    >>> groups_in("mnist:groups=3+9/5+8")
    ('mnist', (('3', '9'), ('5', '8')))

    Raises:
        ArgumentError: There are fewer than two groups, an empty one, or a class stands twice.
    """
    plain, mark, text = name.partition(_MARK)
    if not mark:
        return name, ()
    groups = tuple(tuple(one.strip() for one in group.split("+")) for group in text.split("/"))
    _check(groups, f"data {name!r}: ")
    return plain, groups


def grouped(images: Images, groups: Sequence[Sequence[str]]) -> Images:
    """Only the images of some classes, those of each group under one label.

    The first group's images get label 0, the second's label 1, and so on; images of classes in no group are left out.
    They keep their indices, and :func:`of_label` gives their own classes back. A sample of them
    (:func:`flexure.data.sample`) is balanced over the groups, and within each group over its classes.

    Args:
        images: Any images with labels.
        groups: Names of classes, at least two groups of them; where classes have no names, their numbers.

    Raises:
        ArgumentError: There is no class of a name (the nearest is given), a class stands twice, or no image is left.

    Cost: reads every image once where labels are not known without.

    >>> from flexure.data import load
    >>> both = grouped(load("digits8"), [["3", "9"], ["5", "8"]])
    >>> both.classes, len(both)
    (('3+9', '5+8'), 719)
    """
    wanted = tuple(tuple(map(str, group)) for group in groups)
    _check(wanted, f"{images.name}: ")
    labels, names = _own(images)
    numbers = {name: number for number, name in enumerate(names or map(str, range(int(labels.max()) + 1)))}
    group_of = np.full(len(numbers) + 1, -1, dtype=np.int64)  # the last place is that of images without a label
    for number, group in enumerate(wanted):
        for name in group:
            if name not in numbers:
                raise ArgumentError(f"{images.name}: groups: no class {name!r}. {nearest(name, numbers)}")
            group_of[numbers[name]] = number
    positions = np.flatnonzero(group_of[labels] >= 0)
    classes = tuple("+".join(group) for group in wanted)
    if not len(positions):
        raise ArgumentError(f"{images.name}: groups: no image of the classes {', '.join(classes)}.")
    kept = Selected(images, positions)
    return Relabelled(kept, group_of[labels[positions]], classes, f"{images.name}: {' / '.join(classes)}")


def of_label(images: Images, label: int) -> Images:
    """Only the images of one label; where that is a group of classes, under the classes they had before.

    Args:
        images: Images with labels.
        label: Class index, or number of the group.

    Raises:
        ArgumentError: There is none of that label.

    >>> from flexure.data import load
    >>> one = of_label(grouped(load("digits8"), [["3", "9"], ["5", "8"]]), 1)
    >>> sorted(set(one.labels.tolist())), one.classes[5]
    ([5, 8], '5')
    """
    labels = labels_of(images)
    labels = _read(images) if labels is None else labels
    positions = np.flatnonzero(labels == label)
    if not len(positions):
        there = ", ".join(map(str, np.unique(labels)[:10]))
        raise ArgumentError(f"{images.name}: no image of label {label}; there are {there}.")
    own, names = _own(images)
    return Relabelled(Selected(images, positions), own[positions], names, images.name)


def _own(images: Images) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Labels before any grouping, read where they are not known, and the classes' names."""
    labels, names = own_labels_of(images)
    return (_read(images) if labels is None else labels), names


def _read(images: Images) -> np.ndarray:
    """The label of every image, -1 where there is none or it cannot be read."""
    labels = np.full(len(images), -1, dtype=np.int64)
    for position in range(len(images)):
        batch = images.read([position])
        if len(batch.y):
            labels[position] = int(batch.y[0])
    return labels


def _check(groups: Sequence[Sequence[str]], where: str) -> None:
    names = [name for group in groups for name in group]
    if len(groups) < 2 or not all(names) or not all(groups):
        raise ArgumentError(
            f"{where}groups: expected at least two groups of classes, such as 3+9/5+8 (label 0 / label 1); got "
            f"{'/'.join('+'.join(group) for group in groups)!r}."
        )
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"{where}groups: class {twice!r} stands twice.")
