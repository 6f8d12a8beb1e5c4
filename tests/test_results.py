"""Results: what goes to disk comes back, and what was found stays as it was found."""

import dataclasses

import gauge
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from flexure.errors import ArgumentError
from flexure.results import Result


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


# To disk and back


def test_a_result_comes_back_from_disk_bit_for_bit(tmp_path):
    found = gauge.result()
    path = found.save(tmp_path / "runs" / "a")
    assert path == tmp_path / "runs" / "a" / "sensitivity.parquet"
    back = Result.load(path)
    pd.testing.assert_frame_equal(back.table, found.table, check_exact=True)
    for name in ("D_se", "half", "n"):
        assert same_bits(back[name], found[name])
    assert list(back.arrays) == list(found.arrays)
    assert all(same_bits(back[name], found[name]) for name in found.arrays)
    for name in ("probe", "question", "units", "provenance", "notes"):
        assert getattr(back, name) == getattr(found, name)


def test_saving_twice_gives_the_same_files(tmp_path):
    files = [gauge.result().save(tmp_path / name).parent for name in "ab"]
    assert {path.name: path.read_bytes() for path in files[0].iterdir()} == {
        path.name: path.read_bytes() for path in files[1].iterdir()
    }


def test_a_result_without_rows_or_arrays_comes_back(tmp_path):
    found = Result("layers", "Which?", pd.DataFrame({"layer": [], "D": []}))
    path = found.save(tmp_path)
    back = Result.load(path)
    assert len(back) == 0 and list(back.table) == ["layer", "D"] and not back.arrays
    assert [file.name for file in tmp_path.iterdir()] == ["layers.parquet"]


def test_the_table_is_readable_with_pandas_alone(tmp_path):
    found = gauge.result()
    path = found.save(tmp_path / "lr=0.1")
    pd.testing.assert_frame_equal(pd.read_parquet(path), found.table)
    assert set(load_file(path.with_suffix(".safetensors"))) == set(found.arrays)
    assert list(Result.load(path).table) == list(found.table)  # a folder's name makes no column


def test_rows_are_numbered_afresh():
    assert list(gauge.result(table=pd.DataFrame({"D": [1, 2]}, index=[7, 3])).table.index) == [0, 1]


# Frozen


def test_a_result_is_frozen():
    found, own = gauge.result(), np.ones(3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.probe = "other"
    for store in (found.arrays, found.units, found.provenance):
        with pytest.raises(TypeError):
            store["D"] = 1
    for name in ("D", "similarity"):
        with pytest.raises(ValueError, match="read-only"):
            found[name][0] = 0
    kept = gauge.result(arrays={"own": own})
    own[:] = 0
    assert own.flags.writeable and kept["own"].tolist() == [1, 1, 1]
    own.setflags(write=False)
    assert gauge.result(arrays={"own": own})["own"] is own


def test_frames_given_and_taken_are_copies():
    table = pd.DataFrame({"D": [1.0, 2.0]})
    found = gauge.result(table=table)
    table.loc[0, "D"] = 7
    taken = found.to_frame()
    taken.loc[0, "D"] = 8
    column = found["D"]
    assert found["D"].tolist() == column.tolist() == [1, 2]


def test_a_loaded_result_is_frozen_too(tmp_path):
    back = Result.load(gauge.result().save(tmp_path))
    with pytest.raises(ValueError, match="read-only"):
        back["similarity"][0] = 0


# Names


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(
        ArgumentError, match=r"result of sensitivity: no column or array 'similarty'. Did you mean 'simi"
    ):
        gauge.result()["similarty"]
    with pytest.raises(ArgumentError, match=r"no column or array 0. Valid: D, D_se, "):
        gauge.result()[0]


def test_a_column_and_an_array_of_one_name_are_refused():
    with pytest.raises(ArgumentError, match=r"sensitivity: \['D'\] name both a column and an array"):
        gauge.result(arrays={"D": np.ones(2)})


@pytest.mark.parametrize("probe", ["../elsewhere", "a/b", "", "."])
def test_a_probes_name_cannot_lead_out_of_the_folder(tmp_path, probe):
    with pytest.raises(ArgumentError, match=r"probe names its file and must be a plain name"):
        gauge.result(probe=probe).save(tmp_path / "a")
    assert not any(tmp_path.iterdir())


def test_arrays_that_no_file_holds_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"result of sensitivity: its arrays cannot be written \(.*complex128"):
        gauge.result(arrays={"z": np.ones(2, complex)}).save(tmp_path)
    assert not any(tmp_path.iterdir())


# Shown


def test_text_in_a_notebook_is_escaped():
    shown = gauge.result(table=pd.DataFrame({"<b>": ["<img src=x>"]}))._repr_html_()
    assert not any(tag in shown for tag in ("<script", "<i>", "<b>bn", "<img", "<th><b>"))
    for escaped in ("&lt;script&gt;", "&lt;i&gt;skipped", "&lt;img src=x&gt;", "&lt;b&gt;"):
        assert escaped in shown


def test_the_plain_text_shows_question_rows_arrays_and_notes():
    shown = repr(gauge.result(table=gauge.result().table.head(1)))
    for part in ("How far?", "conv", "0.1", "similarity: array (4, 4)", "note: two of 4"):
        assert part in shown
    assert len(gauge.result()) == 3
