import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from charts.make import RESNET20, RESNET50, provenance, result, run, samples, table, unmeasured
from page.reading import NASTY, data_in, page_of, without_scripts, words_of

from flexure.errors import ArgumentError, RunError
from flexure.page import report
from flexure.results import Result, Run


def nasty_run() -> Run:
    """A run in which every string that can reach the page tries to be HTML."""
    frame = table()
    frame["layer"] = [NASTY + str(i) for i in range(4)] + ["output"]
    frame["kind"] = frame["shape"] = NASTY
    frame = unmeasured(frame, {1: NASTY})
    frame.loc[2, "status"] = NASTY
    about = provenance(NASTY)
    about["settings"] |= {"interpolation": NASTY, NASTY: NASTY}
    about |= {"data": {"name": NASTY, "n": 5, "classes": [NASTY]}, "command": NASTY, "device": NASTY, "started": NASTY}
    about["versions"] = {"flexure": NASTY}
    one = Result("sensitivity", NASTY, frame, samples(), {}, about, (NASTY,))
    other = Result("<img src=x onerror=alert(5)>", NASTY, frame, {}, {}, about, (NASTY,))
    return Run(NASTY, {"model": NASTY}, {"command": NASTY}, {"sensitivity": one, other.probe: other})


def test_the_page_answers_with_the_value_at_the_output_and_its_interval(tmp_path):
    words = words_of(page_of(run(), to=tmp_path))
    assert "R at the output 0.0700 95 %: 0.0626 to 0.0774" in words
    assert "initialized network 0.650 95 %: 0.582 to 0.718" in words
    assert "0.0700 times as far as noise of the same size" in words


def test_the_question_the_prose_the_command_and_the_normalization_are_there(tmp_path):
    words = words_of(page_of(run(), to=tmp_path))
    for part in (
        "How far does each layer move",
        "How to read it",
        "What it does not show",
        "that is a correlation",
        "Command that made it",
        "flexure examine resnet20 --data cifar10 --limit 500 --seed 0",
        "mean (0.4914, 0.4822, 0.4465), standard deviation (0.2023, 0.1994, 0.201)",
        "specimen.weights_hash sha256:5f0c1d9be2",
    ):
        assert part in words, part


def test_every_row_of_the_table_is_on_the_page_with_values_and_reasons(tmp_path):
    frame = unmeasured(table(RESNET20), {5: "non-finite at image 17"})
    frame.loc[8, "status"] = "precision not reachable with 500 images (floor 2.1 %)"
    words = words_of(page_of(run(result(frame)), to=tmp_path))
    assert all(name in words for name in frame["layer"])
    row = frame.iloc[20]
    assert f"{row['R']:.3f}"[:5] in words and "± 0.0" in words
    assert "non-finite at image 17" in words and "precision not reachable with 500 images (floor 2.1 %)" in words
    assert "1 of 70 ops have no R" in words


def test_the_comparison_counts_what_was_measured(tmp_path):
    frame = table()
    frame[["R", "R_init"]] = [[1, 2], [1, 2], [1, 1.01], [2, 1], [1, 1]]
    frame[["R_se", "R_init_se"]] = 0.1
    words = words_of(page_of(run(result(frame)), to=tmp_path))
    assert "at 3 of 5 ops (95 % intervals apart at 2), above it at 1 (apart at 1)." in words


def test_shuffled_channels_are_compared_explained_and_in_the_table(tmp_path):
    frame = table(shuffled=True)
    about = {**provenance(), "settings": {**provenance()["settings"], "shuffle": "input", "shuffle_draws": 3}}
    page = page_of(run(result(frame, provenance=about)), to=tmp_path)
    words = words_of(page)
    assert f"channels shuffled {frame['R_shuffled'].iloc[-1]:.3f}"[:22] in words
    assert "R is below that with shuffled channels at" in words
    assert "Dashed: the same network with its channels shuffled, the geometric mean of 3 shuffles" in words
    assert "Dotted: the same architecture with initial weights" in words
    assert "the two curves of R would coincide" in words and "the shuffled curve would not fall" in words
    groups = ["network as given", "channels shuffled", "initialized network"]
    assert re.findall(r'scope="colgroup" class="group">([^<]*)<', page) == groups


def test_nothing_is_said_of_shuffling_where_nothing_was_shuffled(tmp_path):
    assert "shuffl" not in words_of(page_of(run(), to=tmp_path))


def test_shuffles_that_were_not_measured_say_why(tmp_path):
    frame = table(shuffled=True).assign(D_shuffled=np.nan, G_shuffled=np.nan, R_shuffled=np.nan)
    frame["status_shuffled"] = "no convolution to shuffle"
    words = words_of(page_of(run(result(frame)), to=tmp_path))
    assert words.count("no convolution to shuffle") == 1 and "would coincide" not in words


def test_many_runs_are_summed_up_with_their_shuffles(tmp_path):
    runs = [run(result(table(shuffled=number > 0), name=str(number)), name=f"run {number}") for number in range(4)]
    words = words_of(page_of(*runs, to=tmp_path))
    assert "channels shuffled" in words and "Dashed: the same network" in words


def test_what_a_phone_leaves_out_of_a_table_it_leaves_out_of_its_heading_too(tmp_path):
    page = page_of(*[run(result(table()), name=f"run {number}") for number in range(4)], to=tmp_path)
    tables = re.findall(r'<table class="numbers.*?</table>', page, re.S)
    assert len(tables) == 5
    for rows in (re.findall("<tr>.*?</tr>", each, re.S) for each in tables):
        assert len({(row.count('class="kind"'), row.count('class="shape"')) for row in rows}) == 1


def test_a_transform_is_called_by_its_name_and_not_a_smooth_deformation(tmp_path):
    settings = {**provenance()["settings"], "transform": "LocalTranslation(<b>)", "noise": "rectified"}
    about = {**provenance(), "settings": settings}
    moved = replace(result(provenance=about, notes=[]), question="How far does it move?")
    page = page_of(run(moved), to=tmp_path)
    words = words_of(page)
    assert "A local translation moves the output" in words and "smooth deformation" not in words
    assert "the image is bent smoothly" not in words and "Deformation and noise" not in words
    assert 'alt="image 17, transformed"' in page and "deformed" not in page.partition("<script")[0]
    assert "transform LocalTranslation(" in words and "deformation" not in words.lower()
    assert "LocalTranslation(&lt;b&gt;)" in page and "LocalTranslation(<b>)" not in page
    assert "rectified; before that as large as that image" in words


def test_a_transform_beside_smooth_deformations_is_not_called_one_of_them(tmp_path):
    about = {**provenance(), "settings": {**provenance()["settings"], "transform": "LocalTranslation()"}}
    moved = replace(result(provenance=about), question="How far does it move?")
    words = words_of(page_of(run(), run(moved, name="moved"), to=tmp_path))
    assert "The transform moves the output" in words and words.count("smooth") == 1  # in the question of the other
    assert "How far does it move?" in words
    assert "Deformation and noise" not in words and "transform none LocalTranslation()" in words


def test_the_charts_of_a_panel_share_one_copy_of_the_table(tmp_path):
    data = data_in(page_of(run(), to=tmp_path))
    assert len(data["charts"]) == 3 and all("datasets" not in spec for spec in data["charts"])
    assert sum("layer" in rows[0] for rows in data["data"].values() if rows) == 1
    assert [spec["width"] for spec in data["charts"]] == ["container"] * 3


def test_several_runs_stand_side_by_side(tmp_path):
    other = run(result(table(end=0.3), name="vit"), name="vit")
    page = page_of(run(), other, to=tmp_path)
    words = words_of(page)
    assert "0.0700 times" in words and "0.300 times" in words and "resnet20, vit" in words
    runs = {row["run"] for rows in data_in(page)["data"].values() for row in rows if "layer" in row}
    assert runs == {"resnet20", "vit"}
    assert page.count('alt="image 17, original"') == 1  # both saw the same images


def test_more_than_three_runs_are_summed_up_in_a_table(tmp_path):
    runs = [run(result(table(end=end), name=f"net{end}"), name=f"run{end}") for end in (0.1, 0.2, 0.3, 0.4)]
    words = words_of(page_of(*runs, to=tmp_path))
    assert "run0.3 net0.3 · cifar10 · 500 images · seed 0 0.300 ± 0.016 0.268 to 0.332 0.650" in words


def test_runs_of_one_name_are_told_apart(tmp_path):
    words = words_of(page_of(run(), run(), to=tmp_path))
    assert "resnet20 (1)" in words and "resnet20 (2)" in words


def test_notes_are_shown_once_with_the_runs_that_make_them(tmp_path):
    note = "3 images could not be read."
    words = words_of(page_of(run(result(notes=[note])), run(result(notes=[note]), name="b"), to=tmp_path))
    assert words.count(note) == 1 and f"resnet20, b: {note}" in words


def test_html_in_any_name_appears_as_text(tmp_path):
    page = page_of(nasty_run(), run(), to=tmp_path, title=NASTY)
    body = without_scripts(page)
    assert "<img src=x" not in body and "alert(2)</script>" not in body and 'onerror="' not in body
    assert NASTY in html.unescape(body)
    assert page.count("</script>") == 3  # data, library, page: no string closed one early


def test_html_inside_the_chart_data_is_escaped_and_reads_back_unchanged(tmp_path):
    page = page_of(nasty_run(), to=tmp_path)
    raw = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1]
    assert not set("<>&") & set(raw)
    names = {row["layer"] for rows in json.loads(raw)["data"].values() for row in rows if "layer" in row}
    assert NASTY + "0" in names


def test_only_the_pages_own_two_scripts_may_run_and_nothing_may_load(tmp_path):
    page = page_of(run(), to=tmp_path)
    rule = html.unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert len(scripts) == 2 and set(re.findall(r"'sha256-([^']*)'", rule)) == hashes
    assert "default-src 'none'" in rule and "unsafe-eval" not in rule and "script-src 'unsafe-inline'" not in rule
    outside = re.findall(r'(?:src|href|url)\s*=\s*"?([^"\s>]+)', without_scripts(page))
    assert outside and all(address.startswith("data:") for address in outside)


def test_a_resnet_50_stays_under_two_megabytes_also_twice_and_with_large_noisy_images(tmp_path):
    rng = np.random.default_rng(0)
    names = ("sample_image", "sample_deformed", "sample_noisy")
    runs = []
    for i in range(2):
        noisy = {name: rng.random((6, 3, 224, 224), dtype=np.float32) for name in names}
        field = {"sample_field": rng.normal(size=(6, 2, 224, 224)), "sample_index": np.arange(6)}
        frame = table(RESNET50, seed=i)
        frame[["D", "G", "R", "D_init", "G_init", "R_init"]] *= np.pi  # as many digits as real numbers have
        runs.append(run(result(frame, arrays=noisy | field), name=f"resnet50-{i}"))
    assert report(runs[0], to=tmp_path / "one.html").stat().st_size < 2_000_000
    assert report(*runs, to=tmp_path / "two.html").stat().st_size < 2_000_000


def test_a_run_that_recorded_almost_nothing_still_gives_a_page(tmp_path):
    bare = Result("sensitivity", "?", table(init=False)[["layer", "R"]])
    words = words_of(page_of(Run("bare", {}, {}, {"sensitivity": bare}), to=tmp_path))
    assert "R at the output 0.0700" in words and "not recorded" in words and "Not recorded." in words


@pytest.mark.parametrize("columns", [["D"], []])
def test_a_table_without_r_or_without_rows_still_gives_a_page(tmp_path, columns):
    bare = Result("sensitivity", "?", table()[["layer", *columns]].iloc[: 5 * len(columns)])
    assert "R at the output was not measured" in words_of(
        page_of(Run("bare", {}, {}, {"sensitivity": bare}), to=tmp_path)
    )


def test_an_output_that_was_not_measured_says_why(tmp_path):
    frame = unmeasured(table(), {4: "non-finite at image 17"})
    assert "R at the output was not measured: non-finite at image 17." in words_of(
        page_of(run(result(frame)), to=tmp_path)
    )


def test_a_comparison_that_was_refused_says_why_once(tmp_path):
    frame = table()
    frame[[name for name in frame if "_init" in name and "status" not in name]] = np.nan
    frame["status_init"] = "no factory, and 'head.scale' cannot be reset"
    words = words_of(page_of(run(result(frame)), to=tmp_path))
    assert words.count("no factory, and 'head.scale' cannot be reset") == 1 and "not compared" in words


def test_a_probe_without_an_arrangement_of_its_own_shows_its_table(tmp_path):
    other = Result("curvature", "How curved are the layers?", table(), {}, {}, provenance())
    page = page_of(Run("r", {}, {}, {"curvature": other}), to=tmp_path)
    words = words_of(page)
    assert "How curved are the layers?" in words and "conv1 Conv2d" in words and "<script" not in page


def test_the_samples_stand_beside_their_deformation_and_its_lattice(tmp_path):
    page = page_of(run(), to=tmp_path)
    assert [page.count(f'alt="image 17, {what}"') for what in ("original", "deformed", "with noise")] == [1, 1, 1]
    assert page.count('aria-label="image 17, deformed lattice"') == 1 and page.count("data:image/png") == 12


def test_a_run_folder_is_read_and_the_page_lands_in_it(tmp_path):
    folder = tmp_path / "runs" / "resnet20"
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text(yaml.safe_dump({"model": "resnet20", "probes": {"sensitivity": {}}}))
    result().save(folder)
    path = report(folder)
    assert path == folder / "report.html" and "0.0700 times" in words_of(path.read_text(encoding="utf-8"))


def test_several_runs_land_in_the_current_directory_and_a_folder_may_be_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert report(run(), run()) == Path("compare.html") and Path("compare.html").is_file()
    assert report(run(), to=tmp_path) == tmp_path / "report.html"


def test_a_folder_without_results_is_refused_in_words(tmp_path):
    (tmp_path / "spec.yaml").write_text("model: resnet20\n")
    with pytest.raises(RunError, match=r"no finished probe.*flexure examine --resume"):
        report(tmp_path)


def test_a_folder_without_a_run_and_no_runs_at_all_are_refused(tmp_path):
    with pytest.raises(RunError, match="holds no run"):
        report(tmp_path)
    with pytest.raises(ArgumentError, match="no runs; expected one or several"):
        report()


def test_a_place_that_cannot_be_written_is_an_error_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        report(run(), to=tmp_path / "file" / "page.html")


def test_the_title_may_be_chosen(tmp_path):
    assert "<h1>Before &amp; after</h1>" in page_of(run(), to=tmp_path, title="Before & after")
