"""Segments as stored: sending, reading, and what became of them."""
