"""Pacesetter's client: three lines in a training loop, and a service sets its learning rate."""
