"""The tangent kernel as it is defined: the gradient of every output at every image, one backward pass each."""

import numpy as np
import torch


def tangent_kernel(model, x, outputs):
    """By parameter: inner products of gradients ``(n, n)``, summed over outputs."""
    named = dict(model.named_parameters())
    found = {name: np.zeros((len(x), len(x))) for name in named}
    for c in outputs:
        rows = {name: [] for name in named}
        for image in x:
            gradients = torch.autograd.grad(model(image[None])[0, c], list(named.values()), allow_unused=True)
            for (name, p), gradient in zip(named.items(), gradients, strict=True):
                rows[name].append((torch.zeros_like(p) if gradient is None else gradient).flatten().numpy())
        for name in named:
            g = np.stack(rows[name])
            found[name] += g @ g.T
    return found
