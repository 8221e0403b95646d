"""Segments: as a stream, or by long poll."""
