"""What to run, on the evidence of a project; what was recommended, and what came of it."""
