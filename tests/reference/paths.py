"""Paths and layers of constant filters place by place, the way one would write them down; for tests alone."""

from itertools import product

import torch


def counts(kernels, strides):
    """Paths from each pixel to the first unit of the last layer, walked one by one ``{pixel: paths}``."""
    found = {}
    for taps in product(*(range(kernel) for kernel in kernels)):
        place, step = 0, 1
        for tap, stride in zip(taps, strides, strict=True):
            place, step = place + tap * step, step * stride
        found[place] = found.get(place, 0) + 1
    return found


def layers(x, kernels, strides):
    """What each layer emits for one image ``(H, W)``: windows around the ends summed, then rectified."""
    emitted = []
    for kernel, stride in zip(kernels, strides, strict=True):
        height, width = x.shape
        tall, down = (1, 1) if height == 1 else (kernel, stride)
        y = torch.zeros(-(-height // down), -(-width // stride), dtype=torch.float64)
        for i, j, s, t in product(range(len(y)), range(y.shape[1]), range(tall), range(kernel)):
            row = (i * down + s - (tall - 1) // 2) % height
            y[i, j] += x[row, (j * stride + t - (kernel - 1) // 2) % width]
        x = y.clamp(min=0)
        emitted.append(x)
    return emitted
