"""Reports: what jobs measure, stored exactly once."""
