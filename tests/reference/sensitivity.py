"""D, G and R image by image and pair by pair, the way one would write them down; for tests alone."""

import copy

import torch
from torch import nn

from flexure.perturb.channels import orders
from flexure.perturb.diffeomorphism import Diffeomorphism
from flexure.perturb.noise import sphere


def sensitivity(f, x, *, index=None, displacement=1.0, cutoff=3, draws=1, seed=0, same_pairs=True):
    """``(D, G, R)`` of a function of one image batch, for the deformations and noises that ``flexure`` draws."""
    deform = Diffeomorphism(displacement=displacement, cutoff=cutoff)
    index = torch.arange(len(x)) if index is None else index
    clean = [f(x[i : i + 1]).flatten() for i in range(len(x))]
    a = b = 0.0
    for i in range(len(x)):
        for draw in range(draws):
            one, key = x[i : i + 1], index[i : i + 1]
            bent = deform(one, key, seed=seed, draw=draw)
            noise = sphere(one, key, seed=seed, draw=draw, magnitude=(bent - one).flatten(1).norm(dim=1))
            a += float((f(bent).flatten() - clean[i]).square().sum()) / (draws * len(x))
            b += float((f(one + noise).flatten() - clean[i]).square().sum()) / (draws * len(x))
    pairs = [
        float((clean[i] - clean[j]).square().sum())
        for i in range(len(x))
        for j in range(len(x))
        if same_pairs or i != j
    ]
    spread = sum(pairs) / len(pairs)
    return a / spread, b / spread, a / b


def medians(f, x, *, by_coordinate, seed=0):
    """``(D, G)`` with medians over images, coordinate by coordinate or of norms; pairs i = j included."""
    deform, index = Diffeomorphism(), torch.arange(len(x))
    bent = deform(x, index, seed=seed)
    noise = sphere(x, index, seed=seed, magnitude=(bent - x).flatten(1).norm(dim=1))
    clean = f(x).flatten(1)
    pairs = torch.tensor([float((u - v).square().sum()) for u in clean for v in clean], dtype=torch.float64)
    found = []
    for other in (bent, x + noise):
        squares = (f(other).flatten(1) - clean).square()
        if by_coordinate:
            numerator = sum(float(squares[:, k].double().quantile(0.5)) for k in range(squares.shape[1]))
        else:
            numerator = float(squares.sum(1).double().quantile(0.5))
        found.append(numerator / float(pairs.quantile(0.5)))
    return found


def shuffled(model, layers, *, seed=0, draw=0, scope="shared", skip_first=False):
    """A copy whose convolutions, named in the order in which they run, have their input channels permuted by hand."""
    other = copy.deepcopy(model)
    for number, name in enumerate(layers):
        layer = other.get_submodule(name)
        if skip_first and number == 0:
            continue
        rows = orders(layer.weight.shape, groups=layer.groups, scope=scope, seed=seed, number=number, draw=draw)
        per_row = layer.out_channels // len(rows)
        weight = layer.weight.detach().clone()
        for output in range(layer.out_channels):
            for i, source in enumerate(rows[output // per_row].tolist()):
                weight[output, i] = layer.weight[output, source].detach()
        layer.weight.data = weight
    return other


def reestimated(model, x):
    """A copy whose batch norms, from the first on, hold the statistics of what all images give them together."""
    other = copy.deepcopy(model).eval()
    for norm in [module for module in other.modules() if isinstance(module, nn.BatchNorm2d)]:
        seen = []
        handle = norm.register_forward_hook(lambda module, args, y, seen=seen: seen.append(args[0].clone()))
        with torch.no_grad():
            other(x)
        handle.remove()
        y = seen[0].transpose(0, 1).flatten(1)
        # a group is normalized by its own variance, with divisor n, while later ones are being looked at
        norm.running_mean, norm.running_var = y.mean(1), y.var(1, correction=0)
        norm.settled = y.var(1)
    for norm in [module for module in other.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.running_var = norm.settled
    return other
