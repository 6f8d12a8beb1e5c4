"""Arrays that lie on disk or are made of others: read whole or in part they are what they would be in memory."""

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from flexure.arrays import Arrays, Blocks, Quotient, Spread
from flexure.errors import RunError
from flexure.formulas.similarities import cosine, relative
from flexure.results import Result

N = 7
CUTS = [(0, 3), (3, 5), (5, 7)]


def matrix(symmetric: bool) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(N, N)).astype(np.float32)
    return values + values.T if symmetric else values


def written(folder, values, symmetric):
    """The matrix as blocks of rows in a folder."""
    folder.mkdir(exist_ok=True)
    files = []
    for first, last in CUTS:
        part = np.ascontiguousarray(values[first:last, first if symmetric else 0 :])
        save_file({"kernel": part}, folder / f"kernel-{first}", {"belongs": "this"})
        files.append((first, last, f"kernel-{first}"))
    return Blocks(folder, "kernel", (N, values.shape[1]), "this", tuple(files), symmetric)


def result(kernel) -> Result:
    own = np.array([1.0, 2.0, 0.0, 4.0, 5.0, np.nan, -1.0])
    derived = {
        "relative": Quotient("kernel", "own", absolute=True),
        "cosine": Quotient("kernel", "own", "own", root=True),
        "kernel_se": Spread("kernel", "scale", "scale", 5),
    }
    held = {"kernel": kernel, "own": own, "scale": np.abs(np.random.default_rng(1).normal(size=(N, 2)))}
    return Result("elasticity", "?", pd.DataFrame({"layer": ["output"], "n": [N]}), held, derived=derived)


@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_are_the_matrix_whole_and_row_by_row(tmp_path, symmetric):
    values = matrix(symmetric)
    blocks = written(tmp_path, values, symmetric)
    for start in range(N):
        for stop in range(start + 1, N + 1):
            np.testing.assert_array_equal(blocks.rows(start, stop), values[start:stop])
    np.testing.assert_array_equal(blocks.diagonal(), np.diagonal(values))


def test_derived_arrays_are_what_the_formulas_say():
    values = matrix(symmetric=True).astype(float)
    found, own = result(values), result(values)["own"]
    np.testing.assert_allclose(found["relative"], np.abs(relative(values, own)), rtol=1e-15)
    np.testing.assert_allclose(found["cosine"], cosine(values, own, own), rtol=1e-14)
    scale = found["scale"]
    np.testing.assert_allclose(found["kernel_se"], np.sqrt((values**2 + scale @ scale.T) / 5), rtol=1e-14)
    assert set(found.arrays) == {"kernel", "own", "scale", "relative", "cosine", "kernel_se"}
    for name in ("relative", "cosine", "kernel_se"):
        np.testing.assert_array_equal(found.rows(name, 2, 5), found[name][2:5])
        assert found.shape(name) == (N, N) and found.has_number(name) and not found[name].flags.writeable


def test_a_saved_result_derives_what_it_derived(tmp_path):
    found = result(matrix(symmetric=True).astype(float))
    back = Result.load(found.save(tmp_path / "run"))
    assert back.derived == found.derived and dict(back.kept).keys() == dict(found.kept).keys()
    for name in found.arrays:
        np.testing.assert_array_equal(back[name], found[name])


def test_blocks_are_copied_beside_the_table_and_read_from_there(tmp_path):
    values = matrix(symmetric=True)
    found = result(written(tmp_path / "elsewhere", values, symmetric=True))
    back = Result.load(found.save(tmp_path / "run"))
    for file in (tmp_path / "elsewhere").iterdir():
        file.unlink()
    np.testing.assert_array_equal(back["kernel"], values)
    assert back["cosine"].dtype == np.float32 and back.rows("cosine", 1, 3).dtype == np.float32
    np.testing.assert_array_equal(back.rows("relative", 4, 6), back["relative"][4:6])
    assert "kernel: array (7, 7)" in repr(back)


def test_a_held_array_is_not_derived_as_well():
    found = Arrays({"kernel": np.eye(2), "relative": np.ones((2, 2))}, {"relative": Quotient("kernel")})
    assert not found.derived and len(found) == 2
    np.testing.assert_array_equal(found["relative"], 1)


def test_a_block_that_is_missing_cut_short_or_of_another_matrix_is_refused(tmp_path):
    blocks = written(tmp_path, matrix(symmetric=True), symmetric=True)
    path = tmp_path / "kernel-3"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(RunError, match=r"kernel-3: a block of 'kernel' cannot be read"):
        blocks.rows(0, N)
    path.unlink()
    with pytest.raises(RunError, match=r"kernel-3: a block of 'kernel' cannot be read"):
        blocks.rows(3, 4)
    save_file({"kernel": np.zeros((2, 4), np.float32)}, path, {"belongs": "that"})
    with pytest.raises(RunError, match="a block of another matrix"):
        blocks.rows(6, 7)


@pytest.mark.parametrize(
    "about",
    [
        {"derived": {"cosine": {"kind": "quotient", "of": "nothing"}}},
        {"derived": {"cosine": {"kind": "product", "of": "kernel"}}},
        {"blocks": {"kernel": {"files": [[0, 7, "../elsewhere"]]}}},
    ],
)
def test_forged_descriptions_are_refused(tmp_path, about):
    import json

    import pyarrow.parquet as pq

    path = result(matrix(symmetric=True)).save(tmp_path)
    frame = pq.read_table(path)
    known = json.loads(frame.schema.metadata[b"flexure"]) | about
    pq.write_table(
        frame.replace_schema_metadata({**frame.schema.metadata, b"flexure": json.dumps(known).encode()}), path
    )
    with pytest.raises(RunError, match="metadata are damaged"):
        Result.load(path)
