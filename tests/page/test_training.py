"""The panel of a training: how good it became, honestly, and how it was done."""

from charts.histories import history

from flexure.page.build import render
from flexure.page.training import contents
from flexure.results import Run


def page(*results) -> str:
    runs = [
        Run(f"run {i}", {"net": "lenet5"}, {"command": "flexure train"}, {"training": r}) for i, r in enumerate(results)
    ]
    return render(runs)


def test_the_answer_is_the_accuracy_on_test_images_with_an_interval_within_0_and_1():
    found = contents([history(end=1.0)], ["a"]).outcomes[0]
    assert found.what == "on the test images"
    assert found.interval == "0.9849 to 1.0000"
    assert found.best[1] == 11
    assert contents([history(best=12)], ["a"]).outcomes[0].best is None


def test_without_test_images_it_is_the_accuracy_on_the_training_images_and_called_so():
    found = contents([history(tested=False)], ["a"]).outcomes[0]
    assert (found.what, found.training, found.best) == ("on the training images", None, None)
    text = page(history(tested=False))
    assert "accuracy on the training images" in text
    assert ">test images</th><td" not in text


def test_the_page_says_how_it_was_trained():
    text = page(history())
    for words in (
        "How it was trained",
        "SGD",
        "RandomCrop(padding=4)",
        "all but biases and batch norms",
        "1,438 of digits",
    ):
        assert words in text
    assert "Training ended because all 12 epochs were made." in text
    assert "Nesterov" not in text


def test_what_decays_is_left_out_where_nothing_does():
    result = history()
    result.provenance["settings"]["weight_decay"] = 0.0
    assert "what decays" not in page(result)


def test_several_trainings_stand_side_by_side_and_many_in_a_table():
    assert page(history("a"), history("b")).count('class="answer"') == 2
    many = page(*[history(f"n{i}") for i in range(5)])
    assert 'class="answer"' not in many
    assert many.count("0.9663") >= 5 or many.count("<small> ±") > 5


def test_long_trainings_show_some_of_their_epochs():
    table = contents([history(epochs=1_000)], ["a"]).tables[0]
    assert (len(table.rows), table.left_out, table.rows[-1][0]) == (60, 940, "1,000")
    assert "940 epochs between are left out here" in page(history(epochs=1_000))


def test_names_are_shown_as_text():
    result = history("<script>alert(1)</script>")
    assert "<script>alert" not in page(result)
