"""Imports flow one way, from room to room, and no room hides a public function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import flexure

HOME = Path(flexure.__file__).parent
ROOMS = [
    "errors",
    "arrays",
    "results",
    "ecosystem",
    "distributed",
    "rng",
    "formulas",
    "stats",
    "specimen",
    "bench",
    "recorder",
    "survey",
    "perturb",
    "data",
    "models",
    "weights",
    "losses",
    "training",
    "bounds",
    "probes",
    "analysis",
    "monitors",
    "treat",
    "runs",
    "fleet",
    "charts",
    "page",
    "studies",
    "cli",
]
ONLY = {
    "errors": [],
    "arrays": ["errors"],
    "results": ["errors", "arrays"],
    "charts": ["errors", "results"],
    "page": ["errors", "results", "charts"],
}
FILES = sorted(path for path in HOME.rglob("*.py") if path.parent != HOME or path.stem in ROOMS)


def room_of(path: Path) -> str:
    return path.relative_to(HOME).with_suffix("").parts[0]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Dotted names below flexure that a file imports, wherever in the file, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from ((name.removeprefix("flexure."), node.lineno) for name in names if name.startswith("flexure."))


def test_every_folder_and_file_is_a_known_room():
    found = {room_of(path) for path in HOME.rglob("*.py")} - {"__init__", "__main__"}
    assert found <= set(ROOMS), f"not in the list of rooms: {sorted(found - set(ROOMS))}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOME)))
def test_imports_come_from_rooms_above(path):
    room = room_of(path)
    allowed = {*ONLY.get(room, ROOMS[: ROOMS.index(room)]), room, "__version__"}
    allowed |= set(flexure.__all__) if room == "studies" else set()  # they are written as a user would
    wrong = [f"{name} (line {line})" for name, line in imported(path) if name.split(".")[0] not in allowed]
    assert not wrong, f"{room} imports {', '.join(wrong)}"


def test_no_probe_imports_another_probe():
    probes = [path for path in FILES if room_of(path) == "probes" and path.parent.name + path.stem != "probes__init__"]
    for path in probes:
        own = path.relative_to(HOME / "probes").with_suffix("").parts[0]
        others = {name.split(".")[1] for name, _ in imported(path) if name.startswith("probes.")}
        others = {name for name in others - {own} if not name.startswith("_")}  # what all probes share is private
        assert not others, f"{path.name} imports {sorted(others)}; what two probes need moves up a room"


def test_no_room_bears_the_name_of_a_public_function():
    rooms = {path.stem for path in HOME.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert not rooms & set(flexure.__all__)


def test_the_walker_sees_imports_inside_functions(tmp_path):
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from flexure.cli import main\n    import flexure.page\n")
    assert list(imported(file)) == [("cli.main", 2), ("page", 3)]
