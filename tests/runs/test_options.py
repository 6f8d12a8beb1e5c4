"""``--set probe.option=value``: read as YAML, checked against the probe's own signature."""

import pytest

from flexure.errors import ArgumentError
from flexure.probes import PROBES
from flexure.runs.options import check_options, merge_settings, parse_settings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        ("0.5", 0.5),
        ("true", True),
        ("none", None),
        ("null", None),
        ("[a, b]", ["a", "b"]),
        ("pixel", "pixel"),
        ("a=b", "a=b"),
        ("*.conv1", "*.conv1"),
    ],
)
def test_values_are_read_as_yaml_or_stand_for_themselves(text, value):
    assert parse_settings([f"sensitivity.layers={text}"]) == {"sensitivity": {"layers": value}}


@pytest.mark.parametrize("setting", ["draws=4", "sensitivity.draws", "sensitivity=4", ".draws=4", "sensitivity.=4"])
def test_a_setting_of_another_form_is_refused_with_an_example(setting):
    with pytest.raises(ArgumentError, match=r"expected probe\.option=value, such as sensitivity\.draws=4"):
        parse_settings([setting])


def test_the_same_setting_twice_is_refused():
    with pytest.raises(ArgumentError, match=r"sensitivity\.draws is set twice"):
        parse_settings(["sensitivity.draws=4", "sensitivity.draws=5"])


def test_values_take_the_types_of_the_signature():
    found = check_options({"sensitivity": {"displacement": 2, "layers": ["fc"], "precision": "1e-2", "draws": 3.0}})
    assert found == {"sensitivity": {"displacement": 2.0, "layers": ["fc"], "precision": 0.01, "draws": 3}}
    assert isinstance(found["sensitivity"]["displacement"], float)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sensitivty": {}}, "no probe 'sensitivty'. Did you mean 'sensitivity'? Valid:"),
        ({"sensitivity": {"cutof": 3}}, "sensitivity: no option 'cutof'. Did you mean 'cutoff'? Valid: batch_norm,"),
        ({"sensitivity": {"draws": "many"}}, "sensitivity.draws: expected integer; got 'many'."),
        ({"sensitivity": {"draws": 1.5}}, "sensitivity.draws: expected integer"),
        ({"sensitivity": {"seed": 3}}, "sensitivity.seed: the same for all probes; use --seed (seed=)."),
        ({"sensitivity": {"checkpoint": 3}}, "no option 'checkpoint'"),
        ({"sensitivity": {"interpolation": "bilinaer"}}, "no interpolation 'bilinaer'. Did you mean 'bilinear'?"),
        ({"sensitivity": {"match": "fixed"}}, "match='fixed' and sigma go together"),
        ({"sensitivity": {"shuffle": "inputs"}}, "no shuffle 'inputs'. Did you mean 'input'?"),
        (
            {"sensitivity": {"transform": "LocalTranslation()"}},
            "sensitivity.transform: takes an object, which no command line and no file can hold; got "
            "'LocalTranslation()'. In Python: flexure.sensitivity(…, transform=…).",
        ),
    ],
)
def test_a_wrong_option_is_refused_in_words(options, words):
    with pytest.raises(ArgumentError) as caught:
        check_options(options)
    assert words in str(caught.value)


def test_settings_win_over_the_file_and_names_choose():
    file = {"sensitivity": {"draws": 2, "cutoff": 5}}
    assert merge_settings(file, {"sensitivity": {"draws": 4}}, ()) == {"sensitivity": {"draws": 4, "cutoff": 5}}
    assert merge_settings(None, {}, ()) == {name: {} for name, probe in PROBES.items() if not probe.opt_in}
    assert merge_settings(None, {}, ["sensitivity"]) == {"sensitivity": {}}


def test_what_is_no_mapping_is_left_for_the_spec_to_refuse():
    assert merge_settings([1], {}, ()) == [1]
    assert merge_settings({"sensitivity": [1]}, {}, ()) == {"sensitivity": [1]}
