"""The panel of a phase diagram: its answer, its table by cut-off, its pictures, one image across the plane."""

import pytest
from charts.phase_diagrams import diagram, run
from page.reading import NASTY, data_in, page_of, words_of


def test_the_answer_is_r_at_the_point_nearest_to_one_pixel_of_the_smallest_cut_off(tmp_path):
    result = diagram()
    part = result.table[result.table["cutoff"] == 3]
    row = part.iloc[(part["displacement"] - 1).abs().argmin()]
    words = words_of(page_of(run(result), to=tmp_path))
    assert f"R at {row['displacement']:.3g} pixels, cut-off 3" in words
    assert f"{row['R']:.3f} times as far as noise of the same size" in words.replace("  ", " ")
    assert "none folds the image over" in words


def test_the_table_by_cut_off_tells_band_folds_and_lowest_r(tmp_path):
    words = words_of(page_of(run(), to=tmp_path))
    assert "c = 3 2.83 ×10⁻⁴ 0.0130 0.5 to 3.40" in words
    assert "c = 15" in words and "lowest R in the band" in words


def test_a_cut_off_without_a_band_says_so(tmp_path):
    words = words_of(page_of(run(diagram(cutoffs=(3, 25))), to=tmp_path))
    assert "At cut-off 25 no temperature is both visible and free of folds: T1 lies above T2." in words
    assert "no point in the band" in words


def test_every_point_is_in_the_collapsed_table_with_its_reason(tmp_path):
    page = page_of(run(diagram(unmeasured={2: "non-finite at image 7"})), to=tmp_path)
    assert "<details>" in page and "24 points, value ± standard error" in words_of(page)
    assert page.count('<th scope="row">c = ') == 24 + 3 + 3
    assert "non-finite at image 7" in words_of(page)


def test_one_image_is_shown_at_every_cut_off_with_lattice_and_whether_it_folds(tmp_path):
    page = page_of(run(), to=tmp_path)
    assert page.count('<img src="data:image/png') == 3 * 3 and page.count('aria-label="deformed lattice') == 6
    assert "Image 63, with its own deformation at each point" in words_of(page)
    assert words_of(page).count("· folds") == 3


@pytest.mark.parametrize(("runs", "pictures"), [(1, 5), (2, 4), (5, 4)])
def test_the_pictures_are_there_for_one_run_and_for_many(tmp_path, runs, pictures):
    page = page_of(*(run(name=f"net{i}") for i in range(runs)), to=tmp_path)
    drawn = data_in(page)
    assert len(drawn["charts"]) == pictures == page.count("data-chart=")
    assert ("Drawn for net0" in words_of(page)) == (runs > 1)


def test_nothing_measured_leaves_a_page_with_the_reason(tmp_path):
    nothing = diagram(unmeasured=dict.fromkeys(range(24), "constant output"))
    words = words_of(page_of(run(nothing), to=tmp_path))
    assert "R near one pixel at cut-off 3 was not measured: constant output." in words


def test_strings_that_try_to_be_html_stay_text(tmp_path):
    page = page_of(run(diagram(unmeasured={0: NASTY}, name=NASTY), name=NASTY), to=tmp_path)
    assert "<img src=x" not in page and "alert(2)</script>" not in page
