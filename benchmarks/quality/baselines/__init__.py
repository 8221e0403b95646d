"""What the search has to beat: what people do without it, for the same number of steps.

A baseline is a function ``(task, steps, total, seed) -> Score``: ``steps`` is the budget T, ``total`` all steps that
may be used. It sees split A and is scored on both.
"""
