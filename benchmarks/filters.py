"""How long do the spectra of every filter of a ResNet-50 take, and the whole probe around them?

python benchmarks/filters.py [--rounds N]

CPU time of one thread; tasks take turns within a round. The network's weights are drawn at random. The spectra are what
the probe computes from the weights: power on the modes, spread, covariance, errors, null distribution, for 53 layers
and 23 million weights. The probe also puts the network on the bench (a copy of all weights, compared afterwards) and
hashes it. Beside it stands the plainest way to the powers alone: one einsum per layer over its filters in float64.
"""

import argparse
import statistics

import numpy as np
import torch
from timing import ratios, table
from torch import nn

import flexure
from flexure.formulas.grid_laplacian import modes
from flexure.models import resolve
from flexure.probes.filters.spectra import spectrum
from flexure.weights import convolutions

TARGET = 0.2  # seconds


def spectra(net: nn.Module) -> list[np.ndarray]:
    """Power on every group of modes, with everything else that the probe makes of it."""
    with torch.no_grad():
        return [spectrum(one).groups["power"] for one in convolutions(net)]


def einsum(net: nn.Module) -> list[np.ndarray]:
    """The same powers alone, in one product per layer over all its filters in float64."""
    found = []
    with torch.no_grad():
        for one in convolutions(net):
            if one.weight is None:
                continue
            grid, weight = modes(one.kernel), one.weight.double().flatten(2)
            power = torch.einsum("lm,abm->abl", grid.basis, weight).square().mean((0, 1))
            found.append((power @ grid.members).numpy())
    return found


def main() -> None:
    """Parse the command line, check that both ways agree, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    net = resolve("resnet50").model
    count = sum(one.weight.numel() for one in convolutions(net) if one.weight is not None)
    gap = max(np.abs(a / b - 1).max() for a, b in zip(spectra(net), einsum(net), strict=True))
    tasks = {
        "one einsum per layer, powers alone": lambda: einsum(net),
        "spectra of every filter": lambda: spectra(net),
        "flexure.filters, initialized=0": lambda: flexure.filters(net, initialized=0),
    }
    seconds = ratios(tasks, rounds=rounds)
    targets = {"spectra of every filter": f"< {1000 * TARGET:.0f} ms"}
    title = f"ResNet-50: {len(convolutions(net))} convolutions, {count:,} weights"
    print(table(title, seconds, "one einsum per layer, powers alone", targets))
    median = statistics.median(seconds["spectra of every filter"])
    print(f"largest relative difference of the powers: {gap:.1e}; target {'met' if median < TARGET else 'missed'}")


if __name__ == "__main__":
    main()
