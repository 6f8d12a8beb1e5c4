import pytest
from charts.make import result

from flexure.charts import chart
from flexure.errors import ArgumentError
from flexure.results import Result


def test_several_results_get_the_names_of_their_networks_numbered_where_they_repeat():
    spec = chart([result(), result(), result(name="vit")]).to_dict()
    runs = {row["run"] for rows in spec["datasets"].values() for row in rows if "run" in row}
    assert runs == {"resnet20 (1)", "resnet20 (2)", "vit"}


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([], "no results; expected one or several"),
        ([result(), Result("filters", "?", result().table)], r"different probes \(filters, sensitivity\)"),
        (Result("sensitivit", "?", result().table), "no picture of 'sensitivit'. Did you mean 'sensitivity'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(results, words):
    with pytest.raises(ArgumentError, match=words):
        chart(results)


def test_labels_must_match_the_results_one_by_one():
    with pytest.raises(ArgumentError, match="2 labels for 1 results"):
        chart(result(), labels=["a", "b"])


@pytest.mark.parametrize("y", ["r", ["R", "Q"], []])
def test_an_unknown_quantity_is_refused_with_the_valid_ones(y):
    with pytest.raises(ArgumentError, match=r"cannot be drawn.*Valid: D, G, R"):
        chart(result(), y=y)
