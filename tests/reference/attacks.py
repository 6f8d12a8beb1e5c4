"""FGSM and PGD one image at a time and pixel by pixel, as one would explain them; used by tests alone."""

import torch
import torch.nn.functional as F


def clipped(pixel, around, eps, bounds):
    """The value nearest to this one that lies within eps of another and within the bounds."""
    low, high = max(around - eps, bounds[0]), min(around + eps, bounds[1])
    return min(max(pixel, low), high)


def gradient_sign(network, image, label):
    """Sign of the gradient of the cross-entropy at one image."""
    image = image.clone().requires_grad_()
    with torch.enable_grad():
        F.cross_entropy(network(image[None]), torch.tensor([label])).backward()
    return image.grad.sign()


def plain_pgd(network, image, label, *, eps, step, steps, bounds, start=None):
    """The last of so many steps from a start: every image on the way, the start first."""
    at = image.clone() if start is None else start.clone()
    way = [at]
    for _ in range(steps):
        moved = at + step * gradient_sign(network, at, label)
        pixels = zip(moved.flatten().tolist(), image.flatten().tolist(), strict=True)
        at = torch.tensor([clipped(new, old, eps, bounds) for new, old in pixels], dtype=image.dtype).view(image.shape)
        way.append(at)
    return way
