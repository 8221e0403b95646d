"""Curves of runs that have ended."""
