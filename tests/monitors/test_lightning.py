"""Monitors inside a Trainer of Lightning: the training never notices, and steps are those of the optimizer."""

import copy
import importlib.util
import subprocess
import sys
import warnings

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from monitors.nets import bits, images, net, same
from torch.utils.data import DataLoader, TensorDataset

import flexure
from flexure import Monitor, ecosystem
from flexure.errors import ArgumentError, RunError
from flexure.monitors import Filters, LightningCallback, Sensitivity, Trajectories, gather

WORDS = ("does not have many workers", "You defined a `validation_step`", "treespec, LeafSpec", "Checkpoint directory")
pytestmark = [pytest.mark.filterwarnings(f"ignore:.*{words}") for words in WORDS]  # what Lightning says of small tests


@pytest.fixture(params=["lightning.pytorch", "pytorch_lightning"])
def lightning(request):
    """Each of the two packages that Lightning comes in."""
    if importlib.util.find_spec(request.param.split(".")[0]) is None:
        pytest.skip(f"needs {request.param}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ecosystem.lightning()  # a torchvision that does not fit is taken care of
        return importlib.import_module(request.param)


def module(lightning):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, index):
            x, y = batch
            return F.cross_entropy(self.net(x), y)

        def validation_step(self, batch, index):
            x, y = batch
            self.log("loss", F.cross_entropy(self.net(x), y))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.05)

    return Module()


def loader(shuffle=True):
    data = images()
    return DataLoader(
        TensorDataset(data.read(range(12)).x, data.read(range(12)).y), batch_size=3, shuffle=shuffle, drop_last=False
    )


def trained(lightning, *monitors, epochs=3, validated=False, checkpoint=None, model=None, **options):
    """A module after a training, with these monitors in it."""
    torch.manual_seed(3)
    model = module(lightning) if model is None else model
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    callbacks = [LightningCallback(*monitors)] if monitors else []
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=callbacks, **{"enable_checkpointing": False, **quiet, **options}
    )
    torch.manual_seed(5)
    trainer.fit(model, loader(), loader(shuffle=False) if validated else None, ckpt_path=checkpoint)
    return model, trainer


def gradients(model):
    """By name; Lightning has taken them away where it has validated."""
    return {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


def steps_of(result):
    return list(result.to_frame()["step"].unique())


def numbers(result):
    return result.to_frame()[["step", "layer", "D", "G", "R", "n", "status"]]


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 3}, {"validated": True, "val_check_interval": 2}])
def test_a_training_in_lightning_is_the_same_bit_for_bit_with_a_monitor(lightning, options):
    alone, _ = trained(lightning, **options)
    after = torch.get_rng_state()
    watched, _ = trained(lightning, Sensitivity(images(), every=1), Filters(every="epoch"), **options)
    assert same(bits(alone), bits(watched))
    assert torch.equal(torch.get_rng_state(), after)
    assert same(gradients(alone), gradients(watched))
    assert [one.training for one in watched.modules()] == [one.training for one in alone.modules()]


def test_steps_are_those_of_the_optimizer_and_epochs_have_their_numbers(lightning):
    every, epochs = Sensitivity(images(), every=1), Sensitivity(images(), every="2 epochs")
    trained(lightning, every, epochs, accumulate_grad_batches=3)  # four batches: a step after the third and the last
    assert steps_of(every.result()) == [0, 1, 2, 3, 4, 5, 6]
    output = epochs.result().to_frame().query("layer == 'output'")
    assert list(output["step"]) == [0, 4, 6] and list(output["epoch"]) == [0, 2, 3]


def test_with_validation_in_between_each_step_is_measured_as_the_network_was(lightning):
    told, model, monitor = {}, module(lightning), Sensitivity(images(), every=3)
    model.on_train_batch_end = lambda *_: told.update({model.trainer.global_step: copy.deepcopy(model.net)})
    trained(lightning, monitor, model=model, validated=True, val_check_interval=0.25)
    found = numbers(monitor.result())
    assert steps_of(monitor.result()) == [0, 3, 6, 9, 12]
    for step in (3, 6, 9, 12):
        expected = flexure.sensitivity(told[step], images()).to_frame()
        part = found[found["step"] == step].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[["D", "G", "R"]], expected[["D", "G", "R"]])


def test_the_network_inside_is_measured_by_its_name(lightning):
    torch.manual_seed(3)
    model, monitor = module(lightning), Sensitivity(images())
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    callback = LightningCallback(monitor, network="net")
    lightning.Trainer(max_epochs=1, callbacks=[callback], enable_checkpointing=False, **quiet).fit(model, loader())
    assert list(monitor.result()["layer"][:2]) == ["0", "1"]
    callback = LightningCallback(Sensitivity(images()), network="nett")
    trainer = lightning.Trainer(max_epochs=1, callbacks=[callback], enable_checkpointing=False, **quiet)
    with pytest.raises(ArgumentError, match=r"Module has no part 'nett'. Did you mean 'net'"):
        trainer.fit(model, loader())


def test_a_training_that_goes_on_from_a_checkpoint_continues_its_series(lightning, tmp_path):
    first = Sensitivity(images(), every=3, out=tmp_path / "one")
    _, trainer = trained(lightning, first, epochs=2)
    trainer.save_checkpoint(tmp_path / "state.ckpt")
    second = Sensitivity(images(), every=3, out=tmp_path / "one")
    trained(lightning, second, epochs=3, checkpoint=tmp_path / "state.ckpt")
    assert steps_of(second.result()) == [0, 3, 6, 8, 9, 12]
    assert steps_of(gather(tmp_path / "one", "sensitivity")) == [0, 3, 6, 8, 9, 12]
    assert list(second.result().to_frame().query("step == 12")["epoch"].unique()) == [3]
    with pytest.raises(RunError, match="holds measurements of another training"):
        other = module(lightning)
        with torch.no_grad():
            other.net[0].weight.mul_(2)
        trained(lightning, Sensitivity(images(), every=3, out=tmp_path / "one"), model=other)


def test_paths_of_weights_are_followed_there_too(lightning):
    monitor = Trajectories(every=2)
    trained(lightning, monitor)
    found = monitor.result()
    assert found["step"].tolist() == [0, 2, 4, 6, 8, 10, 12] and list(found["layer"]) == ["net.0"]
    assert list(found["status"]) == ["measured"]


def test_a_schedule_that_never_comes_is_told_before_and_after(lightning):
    rare = Sensitivity(images(), every=50)
    words = r"monitor of sensitivity: every=50 names no moment of a training of 12 steps and 3 epochs"
    with pytest.warns(UserWarning, match=words):
        trained(lightning, rare)
    assert steps_of(rare.result()) == [0, 12]
    assert rare.result().notes[-1].startswith("every=50 has named none of the 12 steps so far")


def test_it_is_a_callback_of_the_package_in_use(lightning):
    callback = LightningCallback(Filters())
    assert isinstance(callback, lightning.Callback) and isinstance(callback, LightningCallback)
    assert type(callback).__name__ == "LightningCallback"


BEFORE = """
import sys, warnings
warnings.simplefilter("ignore")
from flexure.monitors import Filters, LightningCallback
monitor = Filters(every=2)
callback = LightningCallback(monitor)
import importlib
sys.path.insert(0, sys.argv[2])
from monitors.test_lightning import loader, module
lightning = importlib.import_module(sys.argv[1])
quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
trainer = lightning.Trainer(max_epochs=1, callbacks=[callback], enable_checkpointing=False, **quiet)
trainer.fit(module(lightning), loader())
print(sorted(set(monitor.result()["step"].tolist())))
"""


@pytest.mark.slow
def test_it_may_be_made_before_lightning_is_imported(lightning, request):
    tests = str(request.config.rootpath / "tests")
    command = [sys.executable, "-c", BEFORE, lightning.__name__, tests]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout.strip().splitlines()[-1] == "[0, 2, 4]"


def test_what_is_no_monitor_is_refused(lightning):
    with pytest.raises(ArgumentError, match="expected at least one monitor"):
        LightningCallback()
    with pytest.raises(ArgumentError, match=r"monitor 0 is no monitor but Filters. Give Filters\(…\)"):
        LightningCallback(Filters)
    with pytest.raises(ArgumentError, match=r"monitor 1 is no monitor but str. They stand in flexure.monitors"):
        LightningCallback(Monitor("filters"), "sensitivity")
