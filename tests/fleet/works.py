"""Jobs that cost nothing, for sweeps whose workers import them by name."""

import errno
import json
import os
import time
from pathlib import Path

from flexure.errors import DataError
from flexure.results import write_atomically


def count(fields: dict, folder: Path) -> None:
    """Add up keyed numbers in steps, keep the sum after each; leave a line in a common book at every step."""
    assert not (folder / "done.json").exists(), "done already, and begun again"
    path, book = folder / "partial.json", Path(fields["book"])
    state = json.loads(path.read_text()) if path.is_file() else {"step": 0, "sum": 0.5}
    while state["step"] < fields["steps"]:
        state = {"step": state["step"] + 1, "sum": (state["sum"] * 3.9 + fields["value"]) % 1}
        time.sleep(fields.get("pause", 0.0))
        write_atomically(path, json.dumps(state).encode())
        note(book, f"{fields['value']} {state['step']}")
    write_atomically(folder / "result.json", json.dumps(state).encode())
    note(book, f"{fields['value']} finished")


def note(book: Path, line: str) -> None:
    with book.open("a") as file:  # short lines are appended whole
        file.write(f"{line}\n")


def refuse(fields: dict, folder: Path) -> None:
    if fields["value"] == 2:
        print("about to fail")
        raise DataError("no images in\nthis folder")
    count(fields, folder)


def vanish(fields: dict, folder: Path) -> None:
    if fields["value"] == 2:
        print("about to vanish", flush=True)
        os._exit(7)
    count(fields, folder)


def be_interrupted(fields: dict, folder: Path) -> None:
    if fields["value"] == 2:
        raise KeyboardInterrupt
    count(fields, folder)


def be_interrupted_once(fields: dict, folder: Path) -> None:
    if fields["value"] == 2 and not (folder / "interrupted").exists():
        (folder / "interrupted").touch()
        raise KeyboardInterrupt
    count(fields, folder)


def fill_the_disk_for_good(fields: dict, folder: Path) -> None:
    """From the last job on this process cannot sync any file, not even the one that says so."""
    if fields["value"] == 3:

        def full(number: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        os.fsync = full
    return count(fields, folder)


def misname(fields: dict, folder: Path) -> None:
    """Complain of a file whose name is no text, as names on a disk may be."""
    raise DataError("no image in caf\udce9.png")


def fill_the_disk(fields: dict, folder: Path) -> None:
    """From here on this process cannot sync a file: what a full disk says."""
    if fields["value"] != 2:
        return count(fields, folder)

    def full(number: int) -> None:
        os.fsync = synced
        raise OSError(errno.ENOSPC, "No space left on device")

    synced, os.fsync = os.fsync, full
    return count(fields, folder)


def count_somewhere(fields: dict, folder: Path) -> None:
    """The same on a node of Ray's, which leaves its name."""
    import ray

    (folder / "node.txt").write_text(ray.get_runtime_context().get_node_id())
    count(fields, folder)


def leave(fields: dict, folder: Path) -> None:
    raise SystemExit(3)
