"""The panel of fuzziness: the answer, the pictures, the kernels, the numbers and the reasons why there are none."""

import gauge
import torch
from page import reading
from torch import nn

import flexure
from flexure.page.fuzziness import contents
from flexure.page.numbers import number
from flexure.results import Run


def build():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3))


def grown():
    """A network, and itself with every weight of one layer nearer to its end."""
    before, after = gauge.seeded(build), gauge.seeded(build)
    with torch.no_grad():
        after[1].weight *= 1.6
    return before, after


def run(found, name="net"):
    return Run(name, {"model": name, "data": "digits"}, {}, {"fuzziness": found})


def words_of(*runs, to):
    return reading.words_of(reading.page_of(*runs, to=to))


def test_the_panel_answers_and_says_how_to_read_it(tmp_path):
    before, after = grown()
    found = flexure.fuzziness(flexure.Specimen(after, name="net"), before=before)
    words = words_of(run(found), to=tmp_path)
    for part in (
        "How undecided are the weights of each layer between the ends of their interval",
        "net · 2 layers · 2,736 weights",
        "layers more decided than before 1 of 2",
        "less decided: 0",
        "init, one per layer; de_luca_termini",
        "Kernels as memberships",
        "How the weights of each layer are spread",
        "The interval decides the sign.",
        "Not robustness.",
    ):
        assert part in words, part
    row = found.table.iloc[1]
    assert str(number(row["fuzziness"], row["fuzziness_se"])) in words


def test_shuffles_say_whether_it_is_more_than_growth():
    before, after = grown()
    found = flexure.fuzziness(after, before=before, shuffle_draws=20)
    answer = contents([found], ["net"]).answers[0]
    assert answer.shuffled == (1, 2) and answer.fell == 1 and answer.rose == 0


def test_a_change_that_may_be_nothing_is_not_counted():
    before, after = gauge.seeded(build), gauge.seeded(build)
    with torch.no_grad():
        for layer in after:
            step = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(len(layer.weight[0])))
            layer.weight += 1e-3 * step
    found = flexure.fuzziness(after, before=before)
    errors = found["fuzziness_change"] / found["fuzziness_change_se"]
    assert (abs(errors) < 1.96).all() and (errors != 0).all()
    answer = contents([found], ["net"]).answers[0]
    assert (answer.fell, answer.rose) == (0, 0)


def test_layers_beyond_chance_are_counted():
    net = gauge.seeded(build)
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight.sign() * net[0].weight.abs().mean() * 1.9)
    answer = contents([flexure.fuzziness(net)], ["net"]).answers[0]
    assert (answer.layers, answer.below, answer.above, answer.fell, answer.shuffled) == (2, 1, 0, None, None)


def test_several_runs_and_networks_without_values_have_their_place(tmp_path):
    before, after = grown()
    one = run(flexure.fuzziness(after, before=before), "one")
    none = run(flexure.fuzziness(gauge.linear()), "none")
    other = run(flexure.fuzziness(flexure.resolve("resnet20")), "drawn otherwise")
    words = words_of(one, none, other, to=tmp_path)
    assert "There are no weights of which a fuzziness could be told." in words
    assert "not drawn by PyTorch's default initializer" in words and "has no convolutions" in words


def test_a_series_has_its_steps_in_the_table(tmp_path):
    before, after = grown()
    words = words_of(run(flexure.fuzziness(after, checkpoints={0: before, 30: after})), to=tmp_path)
    assert "1 · step 30" in words and "while it learns" in words
