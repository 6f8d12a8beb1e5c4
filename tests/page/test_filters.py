"""The panel of filters: the answer, the pictures, the numbers and the reasons why there are none."""

import gauge
import pandas as pd
import pytest
import torch
from page import reading
from torch import nn

import flexure
from flexure.page.numbers import number
from flexure.results import Result, Run


def run(net, name="net", **options):
    found = flexure.filters(flexure.Specimen(net, name=name), **options)
    return Run(name, {"model": name, "data": "digits"}, {}, {"filters": found})


def words_of(*runs, to):
    return reading.words_of(reading.page_of(*runs, to=to))


@pytest.fixture
def pooling():
    """One layer of constant filters and one of independent ones."""
    net = gauge.seeded(lambda: nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)))
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(16, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(16, 3, 3, 3))
    return net


def test_the_panel_answers_and_says_how_to_read_it(tmp_path, pooling):
    words = words_of(run(pooling), to=tmp_path)
    for part in (
        "Which spatial frequencies do the filters of each convolution carry",
        "layers more constant than chance 1 of 2",
        "largest pooling index 1.0000",
        "The largest pooling index is that of 0 .",
        "net · 2 convolutions · 304 filters",
        "none: the weights alone are read",
        "How to read it",
        "What it does not show",
        "Errors over filters, not over trainings.",
        "Pooling index of each layer's filters",
        "Power of each layer's filters at each frequency",
    ):
        assert part in words, part


def test_every_convolution_has_a_row_with_its_numbers_or_the_reason(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 2, groups=2), nn.Conv2d(4, 2, 1))
    found = run(net)
    words = words_of(found, to=tmp_path)
    table = found["filters"].table
    assert f"0 3×3 3→4 12 {number(table['pooling_index'][0], table['pooling_index_se'][0])}" in words
    assert "1 2×2 transposed 4→4, 2 groups 8" in words and "1×1: one mode only" in words
    assert "initialized network layer kernel channels filters pooling index by chance frequency" in words


def test_without_a_comparison_there_is_no_column_for_it(tmp_path, pooling):
    words = words_of(run(pooling, initialized=0), to=tmp_path)
    assert "initialized network layer" not in words and "below that of the initialized" not in words


def test_a_comparison_that_was_refused_says_why(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    net.register_parameter("scale", nn.Parameter(torch.ones(1)))
    words = words_of(run(net), to=tmp_path)
    assert "Not compared with an initialized network: no fresh weights: reset_parameters does not cover scale" in words


def test_networks_without_such_filters_say_so_and_the_others_are_drawn(tmp_path, pooling):
    alone = words_of(run(gauge.linear()), to=tmp_path)
    assert "net has no convolutions, so there are no filters to look at." in alone and "The numbers" not in alone
    assert "There are no filters of which a frequency could be told." in words_of(run(nn.Conv2d(3, 4, 1)), to=tmp_path)
    both = words_of(run(pooling), run(gauge.linear(), "mlp"), to=tmp_path)
    assert "layers more constant than chance 1 of 2" in both and "mlp: mlp has no convolutions" in both


def test_many_runs_are_summed_up_in_a_table_and_some_spectra_left_out(tmp_path, pooling):
    words = words_of(*(run(pooling, f"net{i}", initialized=0) for i in range(6)), to=tmp_path)
    assert "net3 net3 · 2 convolutions · 304 filters 1 of 2 1.0000" in words
    assert "Spectra of 2 further runs are left out here" in words
    assert words.count("Power of each layer's filters at each frequency: ") >= 4


def test_names_are_text(tmp_path):
    nasty = "<img src=x onerror=alert(1)>"
    net = nn.Sequential()
    net.add_module(nasty.replace(".", ""), nn.Conv2d(3, 4, 3))
    page = reading.page_of(run(net, nasty), to=tmp_path)
    assert "<img src=x" not in page.split("<script")[0]


def test_a_bare_table_is_shown_with_what_it_has(tmp_path):
    bare = Result("filters", "Which?", pd.DataFrame({"layer": ["conv1", "conv2"], "pooling_index": [0.5, None]}))
    words = words_of(Run("bare", {}, {}, {"filters": bare}), to=tmp_path)
    assert "largest pooling index 0.500" in words and "conv1" in words
    other = Result("filters", "Which?", pd.DataFrame({"name": ["conv1"]}))
    assert "There are no filters" in words_of(Run("other", {}, {}, {"filters": other}), to=tmp_path)
