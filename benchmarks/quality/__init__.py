"""How good the search is: small trainings of many kinds, tuned references, baselines and contenders."""
