"""How long does it take to read the fuzziness of every convolution of a ResNet-50?

python benchmarks/fuzziness.py [--rounds N]

CPU time of one thread; tasks take turns within a round. The network's weights are drawn at random. The probe computes,
for 53 layers and 23 million weights at the default interval and index, fuzziness and distances with their errors,
readings of magnitudes, what layers of three laws would give, and densities; it also puts the network on the bench (a
copy of all weights, compared afterwards), hashes it, and draws fresh weights to see that the initial interval is right.
Beside it stands the plainest way to the fuzziness alone: one expression per layer in float64.
"""

import argparse
import math
import statistics

import numpy as np
import torch
from timing import ratios, table
from torch import nn

import flexure
from flexure.models import resolve
from flexure.weights import convolutions

TARGET = 2.0  # seconds


def plain(net: nn.Module) -> list[float]:
    """De Luca and Termini's index of every convolution between its initial ends."""
    found = []
    with torch.no_grad():
        for one in convolutions(net):
            if one.weight is None or one.fan_in is None:
                continue
            mu = ((one.weight.double() * one.fan_in**0.5 + 1) / 2).clamp(0, 1)
            entropy = torch.special.entr(mu) + torch.special.entr(1 - mu)
            found.append(float(entropy.mean()) / math.log(2))
    return found


def main() -> None:
    """Parse the command line, check that both ways agree, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    specimen = resolve("resnet50")
    layers = convolutions(specimen.model)
    count = sum(one.weight.numel() for one in layers if one.weight is not None)
    gap = np.abs(flexure.fuzziness(specimen)["fuzziness"] - plain(specimen.model)).max()
    tasks = {
        "one expression per layer, fuzziness alone": lambda: plain(specimen.model),
        "flexure.fuzziness": lambda: flexure.fuzziness(specimen),
        "flexure.fuzziness, four intervals": lambda: flexure.fuzziness(
            specimen, interval=["init", "minmax", "abs", "symmetric"]
        ),
    }
    seconds = ratios(tasks, rounds=rounds)
    targets = {"flexure.fuzziness": f"< {1000 * TARGET:.0f} ms"}
    title = f"ResNet-50: {len(layers)} convolutions, {count:,} weights"
    print(table(title, seconds, "one expression per layer, fuzziness alone", targets))
    median = statistics.median(seconds["flexure.fuzziness"])
    print(f"largest difference of the fuzziness: {gap:.1e}; target {'met' if median < TARGET else 'missed'}")


if __name__ == "__main__":
    main()
