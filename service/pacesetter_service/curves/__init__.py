"""Curves of runs that have ended: uploaded ones, and those of jobs."""
