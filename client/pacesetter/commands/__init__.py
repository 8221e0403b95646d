"""Subcommands of ``pacesetter`` that are more than a few lines."""
