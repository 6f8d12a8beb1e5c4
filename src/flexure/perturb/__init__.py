"""What is done to an input, a weight or a connection: pure functions, keyed by seed, image and draw."""
