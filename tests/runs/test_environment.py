"""Where a run took place, as plain values."""

import json

import torch

import flexure
from flexure.runs.environment import command_line, environment, versions


def test_the_environment_is_plain_and_names_versions_device_threads_and_command():
    about = environment(device="cpu", command="flexure examine")
    assert json.loads(json.dumps(about)) == about
    assert about["flexure"] == flexure.__version__
    assert about["versions"]["torch"] == torch.__version__
    assert about["threads"] == torch.get_num_threads()
    assert (about["device"], about["cuda"], about["world_size"], about["command"]) == (
        "cpu",
        None,
        1,
        "flexure examine",
    )


def test_packages_that_are_not_installed_are_left_out():
    assert versions(["numpy", "no-such-package"]).keys() == {"numpy"}


def test_the_command_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert command_line(["/x/flexure", "layers", "my net.py:f"]) == "flexure layers 'my net.py:f'"
    assert command_line(["/x/flexure/__main__.py", "doctor"]) == "python -m flexure doctor"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert command_line(["/x/flexure/__main__.py", "doctor"]) == "torchrun --nproc-per-node 2 -m flexure doctor"
    assert command_line([]) == "python"
