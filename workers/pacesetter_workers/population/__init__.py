"""Populations: several trainings of a proxy at once, from which Ray Tune's PBT or PB2 makes one schedule."""
