"""Jobs: registration, lifecycle, overrides and what they did."""
