"""Early stops: each rule from hand-made records, and in a training."""

import math

import pytest
from training.make import images, net

from flexure.errors import ArgumentError
from flexure.training import EarlyStop, EpochRecord, fit


def records(*losses: float, test_error: float = math.nan, test_loss: tuple[float, ...] = ()) -> list[EpochRecord]:
    tests = test_loss or (math.nan,) * len(losses)
    return [
        EpochRecord(i + 1, loss, 0.5, 0.1, 10, test_accuracy=1 - test_error, test_loss=tested)
        for i, (loss, tested) in enumerate(zip(losses, tests, strict=True))
    ]


def test_the_papers_rule_waits_for_500_times_the_first_epoch_without_a_loss():
    rule = EarlyStop(train_loss=0, test_error=0, patience_factor=500)
    losses = [0.3, 0.0] + [0.0] * 998
    assert rule(records(*losses[:999], test_error=0)) is None
    assert rule(records(*losses, test_error=0)) == "epoch 1000 reached training loss 0 and test error 0"
    assert rule(records(*losses, test_error=0.1)) is None
    assert rule(records(*losses[:-1], 0.2, test_error=0)) is None
    assert rule([]) is None


def test_a_loss_below_a_threshold_is_enough_where_nothing_else_is_asked():
    assert EarlyStop(train_loss=0.1)(records(0.3, 0.11)) is None
    assert EarlyStop(train_loss=0.1)(records(0.3, 0.05)) == "epoch 2 reached training loss 0.05"


def test_patience_counts_epochs_without_a_smaller_test_loss():
    rule = EarlyStop(patience=2)
    assert rule(records(1, 1, 1, test_loss=(0.5, 0.4, 0.45))) is None
    assert rule(records(1, 1, 1, 1, test_loss=(0.5, 0.4, 0.45, 0.4))) == "the test loss has not fallen since epoch 2"
    assert rule(records(1, 1, 1)) is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "give train_loss, test_error or patience"),
        ({"train_loss": -1}, "train_loss must be at least 0; got -1"),
        ({"test_error": 2}, r"test_error must be in \[0, 1\]; got 2"),
        ({"patience": 0}, "patience must be at least 1 epoch; got 0"),
        ({"test_error": 0, "patience_factor": 5}, "counts from the first epoch that reached train_loss"),
    ],
)
def test_rules_that_make_no_sense_are_refused(options, words):
    with pytest.raises(ArgumentError, match=words):
        EarlyStop(**options)


def test_a_training_ends_when_told_and_says_why():
    history = fit(net(), images(), epochs=9, lr=0.1, stop=EarlyStop(train_loss=1e9, patience_factor=4))
    assert (len(history), history.ended.startswith("epoch 4 reached training loss")) == (4, True)
    assert fit(net(), images(), epochs=2, lr=0.1).ended == "all 2 epochs were made"
    assert (
        fit(net(), images(), epochs=9, lr=0.1, stop=lambda done: "enough" if len(done) == 3 else None).ended == "enough"
    )
