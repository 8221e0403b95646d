"""Calls on experiments, and the calls of workers on their trials."""
