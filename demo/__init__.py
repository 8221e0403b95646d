"""The demo: a byte-level transformer on Python's own standard library, its learning rate steered mid-run."""
