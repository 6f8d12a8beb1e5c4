"""What the README says is so: its code runs, its commands exist, its table is complete."""

import contextlib
import importlib.util
import io
import re
import shlex
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from flexure.cli import app, run
from flexure.probes import PROBES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(kind, text=README):
    return re.findall(rf"^```{kind}\n(.*?)^```", text, flags=re.M | re.S)


def commands(page):
    """Every line after a prompt, without its comment."""
    lines = "".join(blocks("console", page.read_text(encoding="utf-8"))).splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


def load_alike():
    spec = importlib.util.spec_from_file_location("alike", ROOT / "docs" / "alike.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.alike


def test_the_python_block_runs_and_prints_what_stands_below_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (code,), (expected,) = blocks("python"), blocks("text")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    assert load_alike()(expected, printed.getvalue()), printed.getvalue()
    assert (tmp_path / "depth.png").is_file()
    assert (tmp_path / "runs" / "first" / "sensitivity.parquet").is_file()
    assert "<html" in (tmp_path / "first.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_demonstration_prints_what_the_readme_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    expected = next(block for block in blocks("console") if block.startswith("$ make demo")).partition("\n")[2]
    assert run(["examine"]) == 0
    printed = capsys.readouterr().out
    assert load_alike()(expected, printed), printed


def test_make_commands_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^\$ )make ([a-z]+)", text, flags=re.M))
    assert {"demo", "test", "docs"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_flexure_commands_have_these_flags(page):
    found = [words for words in commands(page) if words[0] == "flexure"]
    found += [words[words.index("flexure") :] for words in commands(page) if words[:1] == ["torchrun"]]
    for words in found:
        app.parse_args(words[1:], exit_on_error=False, print_error=False)
    assert found or page.stem not in ("README", "howto", "index")


def test_a_flag_that_is_not_there_would_be_noticed():
    with pytest.raises(CycloptsError, match="--lmit"):
        app.parse_args(["examine", "resnet20", "--lmit", "5"], exit_on_error=False, print_error=False)


def test_the_table_of_probes_lists_exactly_the_probes_there_are():
    section = README.partition("## Probes\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.M) == list(PROBES)


def test_links_to_files_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("R = 0.17 at 539 images", "R  =  0.19 at 539 images", True),
        ("R = 0.17 at 539 images", "R = 0.17 at 540 images", False),
        ("R = 0.17", "R = 0.41", False),
        ("R = 0.17", "G = 0.17", False),
        ("se 0.001", "se 0.004", True),
    ],
)
def test_printed_texts_are_compared_with_some_leniency_for_numbers(one, other, same):
    assert load_alike()(one, other) is same
