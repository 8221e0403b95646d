"""The cheapest study that gives evidence where there is none."""

from pacesetter.protocol import Study

from pacesetter_search.memory.kinds import Kind
from pacesetter_search.recommendation.target import Asked, Target
from pacesetter_search.transfer.published import best_batch

MULTIPLES = (0.25, 1.0, 4.0)
"""Peaks of a study over the one that would have been taken. Three a factor of 4 apart give the best peak to +-.2
octaves where it lies within an octave of the middle one, five a factor of 2 apart to +-.1 at two thirds more cost;
where it lies at an end both say where to go on (``best_peak`` on parabolas of Step Law's curvature)."""

SHARE, LEAST_STEPS = 1 / 32, 200
"""Of the target's tokens in each run, and what a run takes to say anything. The best peak of a run 32 times as short is
carried over by the slope in tokens, .29 +- .06 octaves an octave: to +-.3."""

MOST_SHARE = 0.25
"""Of the target's tokens in each run."""

UNKNOWN_STEPS = 5000.0
"""Steps that a budget is taken to have where neither a batch nor a law of it is given."""


def cheapest_study(target: Target) -> Study:
    """Return what to run: complete short runs at peaks a factor of four apart, under muP of the base model."""
    asked = target.asked()
    batch = min(_batch(target, asked), asked.tokens)
    tokens = min(max(SHARE * asked.tokens, LEAST_STEPS * batch), MOST_SHARE * asked.tokens)
    tokens = max(tokens, batch)
    parameters = asked.parameters
    model = "the model itself"
    if target.parametrization == "mup" and target.width_ratio > 1.0:
        parameters = max(1.0, parameters / (target.width_ratio**2 * max(target.depth_ratio, 1.0)))
        model = f"the base model of {parameters:.3g} parameters"
    runs = len(MULTIPLES)
    total = runs * tokens
    share = total * parameters / (asked.tokens * asked.parameters)
    return Study(
        runs=runs,
        multiples=MULTIPLES,
        parameters=parameters,
        tokens=tokens,
        batch_tokens=batch,
        total_tokens=total,
        share=share,
        text=(
            f"sweep the peak over {runs} rates a factor of 4 apart around the one that you would have taken, with "
            f"{model}, as complete runs of {tokens:.3g} tokens with the decay that you will use, at {batch:.3g} tokens "
            f"a step: {total:.3g} tokens in all, {100 * share:.2g} % of the target's compute; pass what they ended with"
            f"{_in_what(target)} as a sweep, and add a rate beyond where the best one is at an end"
        ),
    )


def _batch(target: Target, asked: Asked) -> float:
    if asked.batch is not None:
        return asked.batch
    if Kind.of_target(target).of_language:
        return min(best_batch(asked.tokens), target.max_batch_tokens or best_batch(asked.tokens))
    return min(asked.tokens / UNKNOWN_STEPS, target.max_batch_tokens or asked.tokens)


def _in_what(target: Target) -> str:
    objective = target.objective
    if objective.name == "loss":
        return ""
    return f" in {objective.name!r} ({objective.mode})"
