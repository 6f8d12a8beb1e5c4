import pytest
from charts.make import provenance, result, run

from flexure.page.facts import NOT_RECORDED, command_of, normalization_of, rows_of, tree
from flexure.results import Result, Run


def test_the_measurement_is_told_in_words():
    one = run()
    rows = rows_of(one, one["sensitivity"])
    assert rows["images"] == "500" and rows["seed"] == "0" and rows["both act on"] == "the normalized input"
    assert rows["deformation"] == "nominal displacement 1 px, temperature 0.001132, cutoff 3, bilinear warp"
    assert rows["noise"] == "as large as that image's change (equal norm)"


@pytest.mark.parametrize(
    ("specimen", "words"),
    [
        ({"normalize": [[0.5], [0.25]]}, "mean 0.5, standard deviation 0.25"),
        ({"normalize": [0.5, 0.25]}, "mean 0.5, standard deviation 0.25"),
        ({"normalize": [[0.4914, 0.4822, 0.4465], [0.2, 0.2, 0.2]]}, "mean (0.4914, 0.4822, 0.4465), "),
        ({"normalize": None}, "none: the network takes the data as they are"),
        ({}, NOT_RECORDED),
        (None, NOT_RECORDED),
    ],
)
def test_the_normalization_is_printed(specimen, words):
    assert normalization_of(result(provenance={"specimen": specimen})).startswith(words)


def test_a_result_that_recorded_nothing_says_so_throughout():
    bare = Result("sensitivity", "?", result().table.drop(columns=["n"]))
    rows = rows_of(Run("bare", {}, {}, {"sensitivity": bare}), bare)
    assert rows.pop("network") == "bare" and set(rows.values()) == {NOT_RECORDED}


def test_settings_without_words_of_their_own_stand_as_they_are():
    about = provenance() | {"settings": {"match": "per_planet", "sigma": None}}
    one = result(provenance=about)
    assert rows_of(run(one), one)["noise"] == "per_planet"


def test_passes_are_told_with_those_that_were_repeated():
    one = result(provenance={"passes": {"rows": 1500, "extra_clean": 500}})
    assert rows_of(run(one), one)["rows forward"] == "1,500, 500 of them clean ones again"


def test_the_command_may_be_text_or_words():
    assert command_of(run(), result()) == "flexure examine resnet20 --data cifar10 --limit 500 --seed 0"
    one = result(provenance={"command": ["flexure", "examine", "my net"]})
    assert command_of(run(one), one) == "flexure examine 'my net'"


def test_long_lists_and_texts_are_cut_with_a_word_on_the_rest():
    rows = dict(tree({"classes": [f"c{i}" for i in range(1000)], "text": "x" * 500, "nothing": None}))
    assert rows["classes"].endswith("c11 … and 988 more") and rows["nothing"] == "none"
    assert rows["text"].endswith("… and 100 more characters")
