"""Monitors by the names of their probes: the same as by the probe's name, and as careful with options."""

import pandas as pd
import pytest
from monitors.nets import images, net, plain_loop

from flexure import Monitor, monitors
from flexure.errors import ArgumentError
from flexure.models import save_weights

NAMED = {"sensitivity": "Sensitivity", "elasticity": "Elasticity", "filters": "Filters", "accuracy": "Accuracy"}
NAMED |= {"fuzziness": "Fuzziness"}
OPTIONS = {"sensitivity": {"draws": 2}, "elasticity": {"output": 1}, "filters": {"initialized": 0}, "accuracy": {}}
OPTIONS |= {"fuzziness": {"interval": ["init", "minmax"]}}


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


@pytest.mark.parametrize("kind", [monitors.Filters, monitors.Fuzziness])
def test_a_monitor_of_weights_needs_no_images(kind):
    monitor = kind(every=3)
    plain_loop(net(), monitor)
    assert list(monitor.result().to_frame()["step"].unique()) == [0, 3, 6]


def test_fuzziness_knows_the_weights_before_where_it_is_given_them(tmp_path):
    model = net()
    save_weights(model.state_dict(), tmp_path / "initial.safetensors")
    monitor = monitors.Fuzziness(every=3, before=str(tmp_path / "initial.safetensors"), out=tmp_path)
    plain_loop(model, monitor)
    found = monitor.result().to_frame()
    assert found["fuzziness_change"].iloc[0] == 0 and found["fuzziness_change"].iloc[-1] != 0
    assert found["fuzziness_before"].nunique() == 1


def test_a_series_of_its_own_is_no_option_of_a_monitor():
    with pytest.raises(ArgumentError, match="monitor of fuzziness: no option 'checkpoints'"):
        monitors.Fuzziness(checkpoints={0: "initial.safetensors"})


def test_wrong_names_are_corrected():
    with pytest.raises(ArgumentError, match=r"monitor of sensitivity: no option 'drws'. Did you mean 'draws'"):
        monitors.Sensitivity(images(), drws=2)
    with pytest.raises(ArgumentError, match="monitor of elasticity: it looks at images; give some"):
        monitors.Elasticity(every=3)
