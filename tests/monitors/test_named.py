"""Monitors by the names of their probes: the same as by the probe's name, and as careful with options."""

import pandas as pd
import pytest
from monitors.nets import images, net, plain_loop

from flexure import Monitor, monitors
from flexure.errors import ArgumentError

NAMED = {"sensitivity": "Sensitivity", "elasticity": "Elasticity", "filters": "Filters", "accuracy": "Accuracy"}
OPTIONS = {"sensitivity": {"draws": 2}, "elasticity": {"output": 1}, "filters": {"initialized": 0}, "accuracy": {}}


@pytest.mark.parametrize("probe", NAMED)
def test_a_named_monitor_is_the_monitor_of_its_probe(probe, tmp_path):
    kind, found = getattr(monitors, NAMED[probe]), []
    for make in (
        lambda out: kind(images(), every=3, out=out, seed=4, **OPTIONS[probe]),
        lambda out: Monitor(probe, images(), every=3, out=out, seed=4, options=OPTIONS[probe]),
    ):
        monitor = make(tmp_path / str(len(found)))
        plain_loop(net(), monitor)
        found.append(monitor.result().to_frame())
    pd.testing.assert_frame_equal(*found)
    assert list(found[0]["step"].unique()) == [0, 3, 6] and set(found[0]["status"]) == {"measured"}


def test_a_monitor_of_weights_needs_no_images():
    monitor = monitors.Filters(every=3)
    plain_loop(net(), monitor)
    assert list(monitor.result().to_frame()["step"].unique()) == [0, 3, 6]


def test_wrong_names_are_corrected():
    with pytest.raises(ArgumentError, match=r"monitor of sensitivity: no option 'drws'. Did you mean 'draws'"):
        monitors.Sensitivity(images(), drws=2)
    with pytest.raises(ArgumentError, match="monitor of elasticity: it looks at images; give some"):
        monitors.Elasticity(every=3)
