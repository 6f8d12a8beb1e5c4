"""The EfficientNet for small images: its size from the definition, and blocks left out while training alone."""

import torch

from flexure.models.efficientnet import Block, DropBlock, EfficientNetB0

STAGES = [(1, 16, 1, 3), (6, 24, 2, 3), (6, 40, 2, 5), (6, 80, 3, 3), (6, 112, 3, 5), (6, 192, 4, 5), (6, 320, 1, 3)]


def of_block(before: int, after: int, expansion: int, kernel: int) -> int:
    wide, squeezed = expansion * before, before // 4
    expand = before * wide + 2 * wide if expansion > 1 else 0
    excite = wide * squeezed + squeezed + squeezed * wide + wide
    return expand + kernel**2 * wide + 2 * wide + excite + wide * after + 2 * after


def test_parameters_are_those_of_the_definition():
    with torch.device("meta"):
        model = EfficientNetB0()
    total, before = 27 * 32 + 2 * 32, 32
    for expansion, after, blocks, kernel in STAGES:
        for _ in range(blocks):
            total += of_block(before, after, expansion, kernel)
            before = after
    assert sum(p.numel() for p in model.parameters()) == total + 320 * 10 + 10 == 3_598_598
    assert len(model.layers) == 16


def test_four_strides_leave_two_by_two_of_an_image():
    model = EfficientNetB0(width=0.1).eval()
    assert model.layers(torch.rand(1, model.conv1.out_channels, 32, 32)).shape[-2:] == (2, 2)


def test_later_blocks_are_left_out_more_often_and_only_those_with_a_shortcut():
    chances = [block.drop.chance for block in EfficientNetB0(width=0.1).layers if block.drop is not None]
    assert len(chances) == 9
    assert chances == sorted(chances)
    assert 0 < chances[0] < chances[-1] < 0.2


def test_a_block_is_left_out_of_whole_images_and_its_mean_is_kept():
    drop, x = DropBlock(0.25).train(), torch.ones(4000, 2, 3, 3)
    torch.manual_seed(0)
    whole = drop(x)
    y = whole[:, 0, 0, 0]
    assert torch.equal(whole, y.view(-1, 1, 1, 1).expand_as(whole))
    assert y.unique().tolist() == [0, torch.tensor(4 / 3).item()]
    assert abs(y.mean() - 1) <= 4 * (0.25 / 0.75 / 4000) ** 0.5
    assert drop.eval()(x) is x


def test_a_block_that_computes_nothing_is_its_shortcut():
    block = Block(4, 4, expansion=6, kernel=3, stride=1, dropped=0.1).eval()
    torch.nn.init.zeros_(block.shrink[1].weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x), x)
