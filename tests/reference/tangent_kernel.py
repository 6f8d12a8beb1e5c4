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


def tangent_kernels(model, x, outputs):
    """Inner products of the gradients of every two outputs at every two images ``(n, n, C, C)``."""
    parameters = list(model.parameters())
    found = np.zeros((len(x), len(x), outputs, outputs))
    rows = {}
    for i, image in enumerate(x):
        for c in range(outputs):
            gradients = torch.autograd.grad(model(image[None])[0, c], parameters, allow_unused=True)
            rows[i, c] = [
                torch.zeros_like(p) if gradient is None else gradient
                for p, gradient in zip(parameters, gradients, strict=True)
            ]
    for (i, c), one in rows.items():
        for (j, d), two in rows.items():
            found[i, j, c, d] = sum(float((a * b).sum()) for a, b in zip(one, two, strict=True))
    return found
