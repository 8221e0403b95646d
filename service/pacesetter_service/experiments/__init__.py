"""Experiments: searches over proxy runs, planned here and run by workers who hold leases."""
