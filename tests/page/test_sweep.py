"""The page of a sweep: the comparison, the table, and the page of each run."""

import os
import re
from urllib.parse import unquote

import pytest
from page.reading import words_of

import flexure
from flexure.errors import RunError
from flexure.fleet import Sweep
from flexure.fleet.summary import summarize
from tests.fleet.made import swept


@pytest.fixture
def found(tmp_path) -> Sweep:
    there = swept(tmp_path, failed=1)
    summarize(there)
    return there


def links(page: str) -> list[str]:
    return [unquote(link) for link in re.findall(r'<a href="([^"]*)"', page)]


def test_it_shows_the_comparison_the_table_and_each_runs_page(tmp_path, found):
    path = flexure.report(found)
    assert path == tmp_path / "report.html"
    page = path.read_text()
    words = words_of(page)
    assert words.index("Which of D, G and R") < words.index("What has become of each run")
    assert "4 runs: 3 done, 1 failed; 4 min 10 s of work in all" in words
    assert "run 1 vgg11 1 min 1 s failed: it <b>broke</b>" in words
    assert re.search(r"run 2 resnet18 1 min 2 s 0\.034 ± 0\.010 0\.0148 ± [\d.]+ 0\.174 ± [\d.]+ 0\.0850 ± ", words)
    assert "<b>broke" not in page
    assert links(page) == [f"jobs/{job.hash}/report.html" for job in found.jobs[1:]]
    for link in links(page):
        assert "R at the output" in (tmp_path / link).read_text()
    assert "<title>net=resnet18 · Flexure</title>" in (tmp_path / links(page)[0]).read_text()


def test_a_run_is_called_on_its_page_what_the_sweep_calls_it(tmp_path):
    grid = {"limit": [512, None], "probes.sensitivity.draws": [1], "probes.filters.draws": [2]}
    there = swept(tmp_path, grid=grid)
    summarize(there)
    page = flexure.report(there).read_text()
    titles = [re.findall("<title>(.*) · Flexure", (tmp_path / link).read_text())[0] for link in links(page)]
    assert titles == [run.name for run in there.runs()]
    assert titles == [f"limit={limit} sensitivity.draws=1 filters.draws=2" for limit in ("512", "null")]
    assert re.search("run limit sensitivity.draws filters.draws time .* run 1 512 1 2 .* run 2 – 1 2", words_of(page))


def test_whole_numbers_among_gaps_are_written_whole(tmp_path):
    summarize(swept(tmp_path, grid={"limit": [1_281_167, None]}, measured=False))
    assert "run 1 1281167 1 min" in words_of(flexure.report(tmp_path).read_text())


def test_links_hold_from_wherever_the_page_lies(tmp_path, found):
    (tmp_path / "else where").mkdir()
    path = flexure.report(tmp_path, to=tmp_path / "else where" / "all.html")
    assert all((path.parent / link).is_file() for link in links(path.read_text()))


def test_a_page_of_a_run_is_drawn_again_only_where_its_results_are_newer(tmp_path, found):
    flexure.report(tmp_path)
    pages = [found.path(job) / "report.html" for job in found.jobs[1:]]
    for page in pages:
        page.write_text("kept")
        os.utime(page, (4e9, 4e9))
    os.utime(pages[0], (1.0, 1.0))
    flexure.report(tmp_path)
    assert [page.read_text() == "kept" for page in pages] == [False, True, True]


def test_the_smallest_error_stands_out(tmp_path, found):
    page = flexure.report(tmp_path).read_text()
    assert re.findall(r'<td class="first r">(0\.\d+)', page.partition('class="numbers runs"')[2]) == ["0.034"]
    assert "Bold: the smallest test error." in words_of(page)


def test_a_sweep_that_measured_nothing_has_a_table_all_the_same(tmp_path):
    summarize(swept(tmp_path, measured=False))
    page = flexure.report(tmp_path).read_text()
    assert not links(page) and "run 4 lenet 1 min 4 s" in words_of(page)
    assert "Value ± standard error" not in page


def test_sweeps_stand_below_one_another(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        summarize(swept(tmp_path / name, grid={"seed": [0, 1]}, measured=False))
    page = flexure.report(tmp_path / "a", tmp_path / "b", to=tmp_path / "both.html").read_text()
    assert page.count("2 runs: 2 done") == 2


def test_a_sweep_without_a_table_says_how_to_come_by_one(tmp_path):
    swept(tmp_path)
    with pytest.raises(RunError, match=r"this sweep has no table yet.*Finish it with `flexure sweep "):
        flexure.report(tmp_path)


def test_strings_that_try_to_be_html_are_text(tmp_path):
    nasty = '<img src=x onerror="alert(1)">'
    summarize(swept(tmp_path, grid={nasty: [nasty, "b"]}))
    page = flexure.report(tmp_path).read_text()
    assert "&lt;img src=x onerror" in page
    assert "<img src=x" not in page
