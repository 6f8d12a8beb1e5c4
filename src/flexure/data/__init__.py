"""What we look at: indexed, replayable images, from anywhere, under the index they have in the full set."""

from flexure.data.dataset import as_images
from flexure.data.folder import FolderImages
from flexure.data.groups import Relabelled, grouped, groups_in, of_label
from flexure.data.hashing import content_hash
from flexure.data.loading import check_name, is_made, load, names
from flexure.data.manifolds import Manifold
from flexure.data.sample import balanced, hold_out, sample
from flexure.data.scale_detection import ScaleDetection
from flexure.data.stream import (
    Batch,
    Images,
    bounds_of,
    distances_of,
    labels_of,
    notes_of,
    own_labels_of,
    translation_of,
)
from flexure.data.tensors import TensorImages
from flexure.data.usable import usable, usable_batch

__all__ = [
    "Batch",
    "FolderImages",
    "Images",
    "Manifold",
    "Relabelled",
    "ScaleDetection",
    "TensorImages",
    "as_images",
    "balanced",
    "bounds_of",
    "check_name",
    "content_hash",
    "distances_of",
    "grouped",
    "groups_in",
    "hold_out",
    "is_made",
    "labels_of",
    "load",
    "names",
    "notes_of",
    "of_label",
    "own_labels_of",
    "sample",
    "translation_of",
    "usable",
    "usable_batch",
]
