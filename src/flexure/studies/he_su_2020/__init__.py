"""He and Su 2020: a training step on one image moves the predictions on those like it."""
