"""Class folders: what counts as a picture, what is skipped, what is refused, and real JPEGs."""

import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from flexure.data import FolderImages, load
from flexure.errors import ArgumentError, DataError


def jpeg(side: int = 8, value: int = 100, height: int | None = None) -> bytes:
    noise = np.random.default_rng(value).integers(0, 255, (height or side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "jpeg")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    for name in ("cat", "ant"):
        for number in range(3):
            path = tmp_path / name / f"{number}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(jpeg(value=number))
    return tmp_path


def test_classes_and_files_come_in_alphabetical_order(folder):
    images = FolderImages(folder)
    assert images.classes == ("ant", "cat")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.name == f"folder:{folder}"
    batch = images.read([5, 0])
    assert batch.y.tolist() == [1, 0]
    assert batch.index.tolist() == [5, 0]
    assert batch.x.shape == (2, 3, 8, 8)
    assert 0 <= batch.x.min() < batch.x.max() <= 1
    assert batch.x.is_contiguous()


def test_pixels_are_those_of_the_file(folder):
    with Image.open(folder / "cat" / "1.jpg") as picture:
        expected = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255
    assert torch.equal(FolderImages(folder).read([4]).x[0], expected)


def test_nested_folders_belong_to_their_class_and_other_files_to_none(folder):
    (folder / "ant" / "more").mkdir()
    (folder / "ant" / "more" / "x.PNG").write_bytes(jpeg())
    (folder / "ant" / "notes.txt").write_text("no picture")
    (folder / "readme.md").write_text("no class")
    assert FolderImages(folder).labels.tolist() == [0] * 4 + [1] * 3


def test_gray_and_transparent_files_become_rgb_or_all_become_gray(folder):
    Image.new("L", (8, 8), 51).save(folder / "ant" / "a.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 9)).save(folder / "ant" / "b.png")
    x = FolderImages(folder).read([3, 4]).x
    assert x[:, :, 0, 0].tolist() == [pytest.approx([0.2] * 3), [1, 0, 0]]
    assert FolderImages(folder, channels=1).read([3, 4]).x.shape == (2, 1, 8, 8)
    with pytest.raises(ArgumentError, match=r"channels must be 1 .gray. or 3 .RGB.; got 4"):
        FolderImages(folder, channels=4)


def test_a_limit_keeps_indices_and_balance(folder):
    images = FolderImages(folder, limit=4, seed=1)
    assert np.bincount(images.labels).tolist() == [2, 2]
    assert images.read(range(4)).index.tolist() == images.indices.tolist()
    full = FolderImages(folder)
    assert torch.equal(images.read([3]).x, full.read([int(images.indices[3])]).x)


def test_a_truncated_jpeg_among_good_ones_is_named_and_the_rest_delivered(folder):
    path = folder / "cat" / "1.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    batch = FolderImages(folder).read(range(6))
    assert batch.index.tolist() == [0, 1, 2, 3, 5]
    ((index, reason),) = batch.skipped
    assert index == 4
    assert reason.startswith("cat/1.jpg: image file is truncated")


def test_other_damage_is_named_too(folder):
    (folder / "ant" / "0.jpg").write_bytes(b"")
    (folder / "ant" / "1.jpg").write_bytes(b"<html>not found</html>")
    Image.fromarray(np.zeros((8, 8), np.float32)).save(folder / "ant" / "9.tiff")
    images = FolderImages(folder)
    (folder / "cat" / "0.jpg").unlink()
    reasons = dict(images.read(range(7)).skipped)
    assert reasons[0] == "ant/0.jpg: not a picture file"
    assert reasons[1] == "ant/1.jpg: not a picture file"
    assert reasons[3].startswith("ant/9.tiff: a picture of floating-point numbers")
    assert reasons[4] == "cat/0.jpg: no such file"


def test_a_batch_of_damaged_files_alone_is_empty(folder):
    (folder / "ant" / "0.jpg").write_bytes(b"")
    batch = FolderImages(folder).read([0])
    assert batch.x.shape == (0, 3, 8, 8)
    assert len(batch.y) == len(batch.index) == 0


def test_mixed_sizes_are_refused_naming_two_files(folder):
    (folder / "cat" / "2.jpg").write_bytes(jpeg(side=10, height=9))
    with pytest.raises(DataError, match=r"ant/0.jpg is 8 x 8, cat/2.jpg is 9 x 10 .*--image-size"):
        load(f"folder:{folder}")


def test_an_image_size_brings_mixed_sizes_to_one(folder):
    (folder / "cat" / "2.jpg").write_bytes(jpeg(side=20, height=9))
    assert load(f"folder:{folder}", image_size=(6, 7)).read(range(6)).x.shape == (6, 3, 6, 7)


def test_a_file_that_changes_its_size_later_is_refused(folder):
    images = FolderImages(folder)
    (folder / "cat" / "2.jpg").write_bytes(jpeg(side=9))
    with pytest.raises(DataError, match=r"cat/2.jpg is 9 x 9, not 8 x 8 any more"):
        images.read([5])


def test_an_empty_class_folder_is_named_and_keeps_its_class(folder):
    (folder / "bee").mkdir()
    (folder / "<b>dog").mkdir()
    images = FolderImages(folder)
    assert images.classes == ("<b>dog", "ant", "bee", "cat")
    assert set(images.labels) == {1, 3}
    assert images.notes == (f"folder:{folder}: 2 class folders hold no picture: '<b>dog', 'bee'.",)


def test_a_folder_without_pictures_or_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. It must hold one folder per class"):
        FolderImages(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it holds no class folder"):
        FolderImages(tmp_path)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with pytest.raises(DataError, match=r"It holds 1 pictures itself: move them into .*/all/"):
        FolderImages(tmp_path)
    with pytest.raises(DataError, match="is a file, not a folder"):
        FolderImages(tmp_path / "a.jpg")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"none of its 1 class folders \(cat\) holds a picture"):
        FolderImages(tmp_path)


def test_pictures_none_of_which_can_be_read_are_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="none of its 1 pictures can be read"):
        FolderImages(tmp_path)


def test_large_pictures_decoded_by_several_threads_stay_in_order(tmp_path):
    (tmp_path / "all").mkdir()
    for number in range(12):
        Image.new("RGB", (160, 150), (number, 0, 0)).save(tmp_path / "all" / f"{number:02d}.png")
    x = FolderImages(tmp_path).read([7, 0, 11, 3, 5]).x
    assert (x[:, 0, 0, 0] * 255).round().tolist() == [7, 0, 11, 3, 5]


def test_cifar10_from_class_folders(real_data):
    images = load(f"folder:{real_data}/cifar10/test", limit=2000)
    batch = images.read(range(2000))
    assert batch.x.shape == (2000, 3, 32, 32)
    assert np.bincount(batch.y.numpy()).tolist() == [200] * 10
    assert images.classes[:3] == ("airplane", "automobile", "bird")
    assert batch.x.mean().item() == pytest.approx(0.47, abs=0.01)


@pytest.fixture
def parted(folder):
    for part in ("train", "val"):
        for name in ("cat", "ant"):
            (folder / part / name).mkdir(parents=True)
            (folder / part / name / "0.jpg").write_bytes(jpeg(value=len(part)))
    for name in ("cat", "ant"):
        shutil.rmtree(folder / name)
    return folder


def test_a_folder_of_train_and_val_has_splits(parted):
    assert load(f"folder:{parted}").name == f"folder:{parted / 'val'}"
    seen = load(f"folder:{parted}", split="train")
    assert seen.name == f"folder:{parted / 'train'}" and seen.classes == ("ant", "cat") and len(seen) == 2


def test_a_split_that_a_folder_lacks_is_named(parted):
    (parted / "val").rename(parted / "testing")
    assert load(f"folder:{parted}").classes == ("testing", "train")  # then these are classes like any other
    shutil.rmtree(parted / "testing")
    with pytest.raises(DataError, match=r"has the parts train, but none for split 'test'"):
        load(f"folder:{parted}")
