"""Pacesetter inside other tools. Nothing here is imported unless it is asked for by name."""
