"""A small convolutional autoencoder, whose codes are images described without a label."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from flexure import rng
from flexure.errors import ArgumentError

__all__ = ["Autoencoder", "encode"]

_SMALLEST = 16
_BATCH = 2000


class Autoencoder(nn.Module):
    """Two convolutions to a code of 8 maps, three transposed ones back to values in [-1, 1].

    The layers of He and Su's code, made for images of 28×28 (code 8×2×2); what comes back for others is resized
    (bilinear), which is ours.

    Args:
        channels: Of the images.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2, stride=1),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 16, 3, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 5, stride=3, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, channels, 2, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(b, C, H, W)`` through the code and back, in their own size."""
        back = self.decoder(self.encoder(x))
        return back if back.shape == x.shape else F.interpolate(back, x.shape[-2:], mode="bilinear")


def encode(x: torch.Tensor, *, epochs: int = 5000, seed: int = 0) -> np.ndarray:
    """Codes of images after an autoencoder has learned to give these images back.

    Values are scaled to [-1, 1] over the whole set. Adam, learning rate 1e-3, weight decay 1e-5, mean squared error,
    batches of 2000 in an order drawn anew for each epoch; PyTorch's initialization.

    Args:
        x: ``(n, C, H, W)``, floating point, sides of at least 16.
        epochs: Passes over the images.
        seed: Of initialization and order; the global generators stay as they are.

    Returns:
        ``(n, features)``, float32: 32 for images of 28×28 and 32×32.

    Raises:
        ArgumentError: The images are too small, or no epoch is asked for.

    Cost: some 0.1 million multiplications per image and epoch, three times that with gradients.

    Source: He and Su, *The local elasticity of neural networks* (2020), comparison of clusterings; layers and training
        as in the authors' code, which also lets it learn from the images of the other classes.
    """
    if epochs < 1:
        raise ArgumentError(f"autoencoder: epochs must be at least 1; got {epochs}.")
    if min(x.shape[-2:]) < _SMALLEST:
        found = "×".join(map(str, x.shape[-2:]))
        raise ArgumentError(f"autoencoder: images are {found}; its two poolings need at least {_SMALLEST}×{_SMALLEST}.")
    low, high = float(x.min()), float(x.max())
    scaled = 2 * (x.float() - low) / max(high - low, torch.finfo(torch.float32).tiny) - 1
    with rng.seeded(seed), torch.enable_grad():
        model = Autoencoder(x.shape[1]).to(x.device, torch.float32)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
        for _ in range(epochs):
            for rows in torch.randperm(len(scaled)).split(_BATCH):
                batch = scaled[rows]
                optimizer.zero_grad()
                F.mse_loss(model(batch), batch).backward()
                optimizer.step()
    with torch.no_grad():
        return torch.cat([model.encoder(portion).flatten(1) for portion in scaled.split(_BATCH)]).cpu().numpy()
