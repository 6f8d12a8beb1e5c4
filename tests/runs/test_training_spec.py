"""What a training's file may say, and how wrong words are told."""

import pytest

from flexure.errors import ArgumentError, DataError
from flexure.losses import Hinge
from flexure.perturb.corruption import GaussianCorruption
from flexure.runs.training_spec import TrainingSpec, check_names
from flexure.training import EarlyStop, EpochCosine, RandomCrop, RandomFlip

FULL = {
    "net": "LeNet",
    "width": 0.5,
    "data": "mnist",
    "epochs": 250,
    "lr": 0.1,
    "weight_decay": 5e-4,
    "decay": "matrices",
    "schedule": {"epoch_cosine": {"share": 0.8}},
    "loss": {"hinge": {"alpha": 0.01}},
    "augment": [{"crop": {"padding": 2}}, "flip"],
    "corruption": 10,
    "stop": {"train_loss": 0, "test_error": 0, "patience_factor": 500},
    "monitors": {"sensitivity": {"every": 100, "limit": 64, "draws": 2}},
    "probes": {"sensitivity": {"draws": 2}},
    "measure": "best",
}


def test_a_file_becomes_a_recipe(tmp_path):
    (tmp_path / "t.yaml").write_text(TrainingSpec.of(FULL).to_yaml())
    spec = TrainingSpec.read(tmp_path / "t.yaml")
    assert spec.hash == TrainingSpec.of(FULL).hash
    recipe = spec.recipe()
    assert (recipe.schedule, recipe.loss) == (EpochCosine(0.8), Hinge(0.01))
    assert recipe.augment == (RandomCrop(2), RandomFlip())
    assert recipe.corruption == GaussianCorruption(10.0)
    assert recipe.stop == EarlyStop(train_loss=0, test_error=0, patience_factor=500)
    assert (recipe.decay, recipe.weight_decay, recipe.epochs) == ("matrices", 5e-4, 250)
    check_names(spec)


def test_without_corruption_nothing_is_added():
    assert TrainingSpec(net="lenet5", data="digits").recipe().corruption is None


@pytest.mark.parametrize(
    ("change", "same"),
    [({"seed": 1}, False), ({"lr": 0.2}, False), ({"download": True}, True), ({"root": "elsewhere"}, True)],
)
def test_the_hash_follows_what_decides_the_numbers(change, same):
    assert (TrainingSpec.of({**FULL, **change}).hash == TrainingSpec.of(FULL).hash) is same


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epohcs: 3", "line 3: no field 'epohcs'. Did you mean 'epochs'?"),
        ("epochs: 0", "line 3: epochs: expected greater than 0; got 0."),
        ("schedule: cosin", "line 3: schedule: no 'cosin'. Did you mean 'cosine'?"),
        (
            "schedule: {epoch_cosine: {shar: 1}}",
            "line 3: schedule.epoch_cosine: no option 'shar'. Did you mean 'share'?",
        ),
        ("schedule: {epoch_cosine: {share: much}}", "line 3: schedule.epoch_cosine.share: expected number; got 'much'"),
        ("schedule: {cosine: {}, constant: {}}", "line 3: schedule: expected one name, with its options beneath it"),
        (
            "schedule: {share: 0.5}",
            "line 3: schedule: expected a name, or one with its options beneath it; got {'share'",
        ),
        ("augment: [3]", "line 3: augment: expected a name, or one with its options beneath it; got 3."),
        ("loss: {hinge: {alpha: -1}}", "line 3: Hinge: alpha must be > 0; got -1"),
        ("augment: [flipp]", "line 3: augment: no 'flipp'. Did you mean 'flip'?"),
        ("stop: {patiense: 3}", "line 3: stop: no option 'patiense'. Did you mean 'patience'?"),
        ("stop: {patience: 0}", "line 3: stop: patience must be at least 1 epoch; got 0."),
        ("optimizer: sdg", "no optimizer 'sdg'. Did you mean 'sgd'?"),
        ("optimizer: sdg", "line 3: training: no optimizer 'sdg'. Did you mean 'sgd'?"),
        ("decay: matrixes", "line 3: training: no decay 'matrixes'. Did you mean 'matrices'?"),
        ("measure: worst", "line 3: measure: expected 'last', 'best' or 'none'; got 'worst'."),
    ],
)
def test_a_typo_is_told_with_its_line_and_the_nearest_name(tmp_path, line, words):
    file = tmp_path / "t.yaml"
    file.write_text(f"net: lenet5\ndata: digits\n{line}\n")
    with pytest.raises(ArgumentError) as caught:
        TrainingSpec.read(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"net": "vgg11b"}, "no model 'vgg11b'. Did you mean 'vgg11"),
        ({"data": "digit"}, "no data set 'digit'. Did you mean 'digits'"),
        ({"device": "gpu"}, "device"),
        ({"probes": {"sensitivty": {}}}, "no probe 'sensitivty'. Did you mean 'sensitivity'"),
        ({"probes": {"sensitivity": {"draw": 1}}}, "sensitivity: no option 'draw'. Did you mean 'draws'"),
        ({"monitors": {"trajectory": {}}}, "no monitor 'trajectory'. Did you mean 'trajectories'"),
        ({"monitors": {"trajectories": {"evry": 1}}}, "monitors.trajectories: no option 'evry'. Did you mean 'every'"),
        ({"monitors": {"trajectories": {"walks": 1}}}, "walks must be a whole number of at least 2; got 1"),
        ({"monitors": {"trajectories": {"sample": "all"}}}, "monitors.trajectories.sample: expected .*; got 'all'"),
        ({"monitors": {"trajectories": {"every": "often"}}}, "every: expected a number of steps"),
        ({"monitors": {"sensitivity": {"evry": 1}}}, "sensitivity: no option 'evry'. Did you mean 'every'"),
        ({"monitors": {"sensitivity": {"limt": 1}}}, "sensitivity: no option 'limt'. Did you mean 'limit'"),
        ({"monitors": {"sensitivity": {"every": "often"}}}, "monitors.sensitivity.every: expected .*got 'often'"),
        ({"monitors": {"sensitivity": {"limit": 0}}}, "monitors.sensitivity.limit: expected a number of images"),
        ({"net_options": {"depth": 3}}, "net_options: lenet5 has no option 'depth'. It has none beside those with"),
        ({"net_options": {"channels": 3}}, "net_options.channels: a field of its own; write channels: beside net:"),
        ({"net": "math:prod", "net_options": {"x": 3}}, "net_options: math:prod takes none"),
    ],
)
def test_every_name_is_checked_before_anything_is_read(fields, words):
    with pytest.raises(ArgumentError, match=words):
        check_names(TrainingSpec.of({"net": "lenet5", "data": "digits", **fields}))


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        check_names(TrainingSpec(net="lenet5", data=f"folder:{tmp_path}/nowhere"))
