"""The panel of robustness: FGSM never without PGD, every interval, and the checks with their doubts."""

from charts.test_robustness import result
from page.reading import page_of, words_of

from flexure.page.robustness import contents
from flexure.results import Run


def page_with(tmp_path, *results):
    return page_of(*(Run(f"net{i}", {}, {}, {"robustness": one}) for i, one in enumerate(results)), to=tmp_path)


def test_the_answer_is_what_the_worst_of_all_attacks_leaves(tmp_path):
    words = words_of(page_with(tmp_path, result()))
    assert "robust accuracy at eps 0.1 0.100 95 %: 0.060 to 0.140" in words
    assert "clean accuracy 0.950 95 %: 0.910 to 0.990" in words
    assert "Share of 200 images that stay right under every attack. At eps 0.1: FGSM alone 0.610, PGD 0.440." in words


def test_every_attack_and_budget_has_its_row_with_an_interval(tmp_path):
    words = words_of(page_with(tmp_path, result()))
    for name in ("random signs", "FGSM", "PGD", "PGD on the margin", "worst of all these"):
        assert f"{name} 0.03" in words
    assert "none 0 0.950" in words
    assert "0.100 ± 0.020 0.060 to 0.140" in words


def test_networks_stand_side_by_side_and_what_one_lacks_is_said(tmp_path):
    words = words_of(page_with(tmp_path, result(), result("other", eps=(0.1,), lost=0.01)))
    assert "attack eps net0 95 % net1 95 %" in words
    assert "random signs 0.03 0.865 ± 0.020 0.825 to 0.905 not measured" in words


def test_the_checks_are_shown_and_doubts_stand_out(tmp_path):
    page = page_with(tmp_path, result())
    words = words_of(page)
    assert "Were the attacks worth their name?" in words and "fine Left 0." in words and "told None." in words
    assert "doubtful <b>Odd." in words
    assert contents([result()], ["net"]).is_doubtful


def test_distances_have_a_table_where_there_are_any(tmp_path):
    words = words_of(page_with(tmp_path, result(minimum=("deepfool",))))
    assert "How far the nearest failure is" in words and "DeepFool Euclidean distance" in words
    assert "1.00 0.900 to 1.10" in words
    assert "How far the nearest failure is" not in words_of(page_with(tmp_path, result()))


def test_what_was_not_measured_says_why(tmp_path):
    words = words_of(page_with(tmp_path, result(status="no labels", sanity=[])))
    assert "Not measured: no labels." in words and "Were the attacks" not in words
    assert not contents([result(status="no labels")], ["net"]).pictures


def test_the_page_says_how_pgd_climbed(tmp_path):
    words = words_of(page_with(tmp_path, result()))
    assert "PGD: 4 steps of 0.1 eps from each start (random, clean)" in words
    assert "It is an upper bound:" in words
