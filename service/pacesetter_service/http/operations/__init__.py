"""Health, metrics and the front page."""
