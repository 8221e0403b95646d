"""Python files that an exported main line becomes. They need torch and nothing of this project."""

TORCH = '''"""The learning rate of job "{name}", as a scheduler of torch's.

    scheduler = make_scheduler(optimizer)     # once, at the start; then scheduler.step() after every optimizer.step()
"""
{scheduler}
CLOCK = "{clock}"
"""What positions count."""
BASE_LRS = {bases!r}
"""Of each parameter group, when the job was registered: the optimizer is to be built with these."""
KNOTS = [
{knots}]
"""Of each parameter group: (position, multiplier of its base learning rate); straight in between."""
'''

HF = '''"""The learning rate of job "{name}", for the Trainer of Hugging Face's transformers.

    optimizer = torch.optim.AdamW(model.parameters(), lr=BASE_LRS[0])
    Trainer(model, arguments, ..., optimizers=trainer_optimizers(optimizer))

The Trainer then makes no scheduler of its own and steps this one once an optimizer step.
"""
{scheduler}

def trainer_optimizers(optimizer, tokens_per_step=None):
    """Return the pair that the Trainer's argument ``optimizers`` takes."""
    return optimizer, make_scheduler(optimizer, tokens_per_step)


CLOCK = "{clock}"
"""What positions count."""
BASE_LRS = {bases!r}
"""Of each parameter group, when the job was registered: the optimizer is to be built with these."""
KNOTS = [
{knots}]
"""Of each parameter group: (position, multiplier of its base learning rate); straight in between."""
'''

SCHEDULER = '''
from bisect import bisect_right

from torch.optim.lr_scheduler import LambdaLR


def multiplier(knots, position):
    """Return the multiplier at a position; before the first knot and after the last it stays what it is there."""
    at = bisect_right(knots, (position, float("inf")))
    if at in (0, len(knots)):
        return knots[min(at, len(knots) - 1)][1]
    (left, low), (right, high) = knots[at - 1], knots[at]
    return low + (high - low) * (position - left) / (right - left)


def make_scheduler(optimizer, tokens_per_step=None, first_group=0):
    """Return a scheduler that replays the main line.

    ``tokens_per_step`` is needed where positions count tokens; ``first_group`` where the job had several optimizers:
    which of its parameter groups, in the order of KNOTS, is the first of this one.
    """
    if CLOCK == "tokens" and not tokens_per_step:
        raise ValueError("positions count tokens: give tokens_per_step, the tokens of one optimizer step")
    groups = KNOTS[first_group:][: len(optimizer.param_groups)]
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(
            f"the job had {len(KNOTS)} parameter groups, too few for the {len(optimizer.param_groups)} "
            f"of this optimizer from number {first_group} on"
        )
    unit = tokens_per_step if CLOCK == "tokens" else 1
    shapes = [lambda step, knots=knots: multiplier(knots, step * unit) for knots in groups]
    return LambdaLR(optimizer, shapes)

'''
