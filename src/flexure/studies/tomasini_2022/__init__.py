"""Tomasini et al. 2022: how deep convolutional networks lose spatial information with training."""
