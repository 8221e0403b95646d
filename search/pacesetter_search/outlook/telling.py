"""Asks a law what a job may expect."""

from collections.abc import Sequence

import numpy as np
from pacesetter.schedules import Linear, Schedule

from pacesetter_search.laws import FittedLaw
from pacesetter_search.laws.choice import Extension, compare_extensions, decay_now
from pacesetter_search.laws.choice.ranking import doubts, final
from pacesetter_search.laws.choice.running import values_over
from pacesetter_search.laws.curves import FloatArray
from pacesetter_search.laws.identification import MISFIT
from pacesetter_search.laws.stored import MOST_POINTS, MOST_STEPS, NamedCurve, mean_rates
from pacesetter_search.outlook.answer import Decay, Expected, Longer, Outlook, Planned, Way
from pacesetter_search.outlook.basis import Basis, Standing
from pacesetter_search.prediction import BEYOND, Z90

FALLEN = 0.95
"""Share of the peak below which a rate has fallen."""

SHIFT_SD = 0.5
"""Of the shift of a family's law to the job's own level. Nobody measured how much of it is left at the end: at this,
all of it and none of it are two sds apart."""

OFF_PLAN = 0.01
"""Relative difference between the planned and the measured rate that is said."""


def outlook(
    standing: Standing, basis: Basis, lengths: Sequence[int], factors: Sequence[float]
) -> Outlook:
    """Return what a job may expect, by a law.

    Args:
        standing: The job, with a rate above zero where it stands.
        basis: The law.
        lengths: Steps of decays from where it stands, above zero.
        factors: Of the budget, above 1.

    Raises:
        ValueError: A length or a factor is none, the rate is zero, or no finite loss above zero is left.
    """
    view = _View(standing, basis, max([1.0, *factors]))
    decays, of_decays = _decays(view, lengths)
    extensions, of_extensions = _extensions(view, factors)
    planned = view.rates(standing.plan, standing.total)
    present, end = final(view.law, view.before), final(view.law, planned)
    now = view.expected(float(present.mean[0]), float(present.sd[0]))
    warnings = (
        *of_decays,
        *doubts(view.law, {"the plan": planned}),
        *of_extensions,
        *_off_plan(standing),
        *_off_law(basis, view.shift),
    )
    return Outlook(
        position=standing.at,
        law=basis.id,
        tells_decay=basis.tells_decay,
        shift=view.shift,
        now=now,
        planned=Planned(
            position=standing.total,
            schedule=standing.plan,
            **dict(view.expected(float(end.mean[0]), float(end.sd[0]), planned)),
        ),
        decays=decays,
        extensions=extensions,
        evidence=basis.evidence,
        warnings=tuple(dict.fromkeys(warnings)),
    )


class _View:
    """A law as a job asks it, over as few steps as matter.

    Args:
        standing: The job.
        basis: The law.
        longest: Times the budget that are looked at.
    """

    def __init__(self, standing: Standing, basis: Basis, longest: float) -> None:
        self.standing, self.basis = standing, basis
        self.stride = -(-round(longest * standing.total) // MOST_STEPS)
        self.law: FittedLaw = basis.law.thinned(self.stride)
        steps, lrs = standing.points.with_warmup()
        self.before = mean_rates(steps, lrs, standing.at, self.stride)
        self.shift = 0.0 if basis.id is None else _shift(standing, basis.law)

    def rates(self, schedule: Schedule, end: int) -> FloatArray:
        """Return the learning rates that were run, and those of a schedule from here to ``end``."""
        standing = self.standing
        values = values_over(schedule, standing.at, end, self.stride)
        return np.append(self.before, standing.scale * values)

    def expected(self, loss: float, sd: float, rates: FloatArray | None = None) -> Expected:
        """Return a loss at the job's own level, or none where ``rates`` fall and nothing tells what that brings."""
        if rates is not None and not self.basis.tells_decay and _falls(rates):
            return Expected(loss=None, loss_90=None)
        own = loss * (1.0 + self.shift)
        spread = Z90 * float(np.hypot(sd * (1.0 + self.shift), SHIFT_SD * self.shift * loss))
        return Expected(loss=own, loss_90=(own - spread, own + spread))


def _decays(view: _View, lengths: Sequence[int]) -> tuple[tuple[Decay, ...], tuple[str, ...]]:
    """Return what decays give, and what is in doubt, the law's own warnings first."""
    standing = view.standing
    found = decay_now(view.basis.law, view.before, lengths, stride=view.stride)
    level = standing.plan.at(standing.at)
    decays = []
    for way in found.ways:
        schedule = Schedule(
            zero=standing.at, length=way.length, peak=level, unit=standing.plan.unit, body=Linear()
        )
        decayed = view.rates(schedule, standing.at + way.length + 1)
        after = view.expected(way.loss, way.loss_sd, decayed)
        decay = Decay(
            length=way.length,
            held=view.expected(way.held, 0.0, view.before).loss,
            gain=None if after.loss is None else way.gain,
            schedule=schedule,
            **dict(after),
        )
        decays.append(decay)
    return tuple(decays), found.warnings


def _extensions(
    view: _View, factors: Sequence[float]
) -> tuple[tuple[Longer, ...], tuple[str, ...]]:
    """Return what longer budgets give, and what is in doubt."""
    standing, law = view.standing, view.basis.law
    longest = law.longest
    found: list[Longer] = []
    warnings: list[str] = []
    for factor in factors:
        total = round(factor * standing.total)
        if longest is not None and total > BEYOND * longest:
            why = f"{total:,} steps are more than {BEYOND} times the {longest:,} of the longest fitted run"
            found.append(Longer(factor=factor, total=total, ways=(), refused={"every way": why}))
            continue
        (extension,) = compare_extensions(
            law,
            standing.plan,
            standing.base_lr,
            standing.at,
            (factor,),
            total=standing.total,
            lrs_so_far=view.before,
            stride=view.stride,
        )
        ways = _ways(view, extension, total)
        found.append(Longer(factor=factor, total=total, ways=ways, refused=dict(extension.refused)))
        doubted = extension.warnings[len(law.warnings) :]
        warnings += [f"{factor:g} times the budget, {each}" for each in doubted]
    return tuple(found), tuple(warnings)


def _ways(view: _View, extension: Extension, total: int) -> tuple[Way, ...]:
    """Return the ways to extend; without places where a loss is left out."""
    ways = []
    for way in extension.ways:
        schedule = extension.schedules[way.name]
        after = view.expected(way.loss, way.loss_sd, view.rates(schedule, total))
        ways.append((way, schedule, after))
    told = all(after.loss is not None for _, _, after in ways)
    if not told:
        ways.sort(key=lambda each: each[0].name)
    return tuple(
        Way(
            name=way.name,
            rank=way.rank if told else None,
            gain=way.gain if told else None,
            schedule=schedule,
            **dict(after),
        )
        for way, schedule, after in ways
    )


def _falls(rates: FloatArray) -> bool:
    """Return whether the rate falls after its peak."""
    top = int(np.argmax(rates))
    return bool(np.min(rates[top:]) < FALLEN * rates[top])


def _shift(standing: Standing, law: FittedLaw) -> float:
    """Return by which share of a law's losses the job's lie above them, over the later half of its curve."""
    own = NamedCurve(standing.name, standing.points)
    stride = -(-own.steps // MOST_STEPS)
    curve = own.curve(stride, MOST_POINTS)
    curve = curve.after(max(1, int(0.5 * curve.positions[-1])))
    if np.min(curve.losses) <= 0.0:
        raise ValueError("a loss is not above zero, and laws describe losses that are")
    expected = law.thinned(stride).predict(curve.lrs, curve.positions).mean
    return float(np.expm1(np.median(np.log(curve.losses / expected))))


def _off_plan(standing: Standing) -> list[str]:
    """Return a sentence where the job does not run at what it has planned."""
    last = standing.points
    planned = standing.scale * standing.plan.at(float(last.steps[-1]) - 1.0)
    measured = float(last.lrs[-1])
    if abs(measured - planned) <= OFF_PLAN * max(measured, planned):
        return []
    return [
        f"the rate at step {last.steps[-1]:,.0f} was {measured:.3g}, and the schedule in force has {planned:.3g}: "
        "what follows is as planned, what moves the rate beside the plan is not in it"
    ]


def _off_law(basis: Basis, shift: float) -> list[str]:
    """Return what makes a stored law doubtful for this job."""
    found = []
    if basis.octaves > 0.0:
        found.append(
            f"law {basis.id} is of runs whose size differs by a factor of {2.0**basis.octaves:.2g}"
        )
    if abs(shift) > MISFIT:
        found.append(
            f"the job's losses lie {100.0 * shift:+.2g} % off law {basis.id}; all that it predicts was moved by that"
        )
    return found
