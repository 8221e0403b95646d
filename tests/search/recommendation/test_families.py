"""Runs of another family count for less, their losses do not compare, and the answer says so."""

import math
from typing import Any

import pytest
from pacesetter.protocol import Evidence, Recommendation
from pacesetter_search.memory import RunRecord
from pacesetter_search.recommendation import recommend

from tests.search.recommendation.cases import BATCH, PARAMETERS, TOKENS, bowl, run, target, width_of

HERE: dict[str, Any] = {"tokens": TOKENS, "batch": BATCH}
ASKED: dict[str, Any] = {"batch_tokens": BATCH}


def swept(family: str) -> list[RunRecord]:
    """Return three whole runs of the asked size and budget."""
    return [
        one.model_copy(update={"id": f"{one.id} of {family!r}"})
        for one in bowl(1e-3, 5e-4, 1e-3, 2e-3, level=3.0, family=family, **HERE)
    ]


def told(found: Recommendation) -> str | None:
    return next((one for one in found.warnings if "count as another family's" in one), None)


def weight(found: Recommendation) -> float:
    return sum(one.weight for one in found.evidence if one.kind == "run")


@pytest.mark.parametrize("family", ["", "gpt"])
def test_runs_of_the_target_s_own_family_count_whole_named_or_not(family: str) -> None:
    found = recommend(target(**ASKED, family=family), swept(family))
    assert found.lr == pytest.approx(1e-3, rel=0.15)
    assert width_of(found) < 0.6 * width_of(recommend(target(**ASKED)))
    assert found.loss is not None
    assert found.loss.basis == "finals"
    assert told(found) is None


@pytest.mark.parametrize(("asked", "known"), [("", "gpt"), ("gpt", ""), ("gpt", "bert")])
def test_runs_of_another_family_count_for_less_and_the_answer_says_so(
    asked: str, known: str
) -> None:
    own = recommend(target(**ASKED, family=asked), swept(asked))
    found = recommend(target(**ASKED, family=asked), swept(known))
    alone = recommend(target(**ASKED, family=asked))
    assert weight(found) < weight(own)
    assert width_of(own) < width_of(found) < width_of(alone)
    assert math.log2(found.lr or 0.0) < math.log2(alone.lr or 0.0) - 0.3
    assert found.loss == alone.loss
    warning = told(found) or ""
    assert (f"'{known}'" if known else "runs that name no family") in warning
    assert (f"the target names family='{asked}'" if asked else "the target names none") in warning


def test_where_the_own_family_is_on_record_others_are_not_told_unless_none_was_named() -> None:
    both = [*swept("gpt"), *swept("bert")]
    assert told(recommend(target(**ASKED, family="gpt"), both)) is None
    unnamed = [*swept(""), *swept("gpt")]
    assert "'gpt'" in (told(recommend(target(**ASKED), unnamed)) or "")


def test_of_many_other_families_a_few_are_named() -> None:
    many = [one for number in range(6) for one in swept(f"f{number}")]
    warning = told(recommend(target(**ASKED, family="gpt"), many)) or ""
    assert "runs of 'f0', 'f1', 'f2' and 3 more count as another family's" in warning


def test_runs_whose_best_peak_the_evidence_tells_are_heard_once() -> None:
    own = Evidence(
        parameters=PARAMETERS, tokens=TOKENS, batch_tokens=BATCH, lr=1e-3, sd_octaves=0.2
    )
    asked, runs = target(**ASKED, family="gpt", evidence=(own,)), swept("gpt")
    alone, twice = recommend(asked), recommend(asked, runs)
    once = recommend(asked, runs, heard={one.id for one in runs})
    assert twice.sd_octaves is not None
    assert once.sd_octaves is not None
    assert twice.sd_octaves < 0.95 * once.sd_octaves
    assert weight(twice) > 0.0
    assert weight(once) == 0.0
    assert once.sd_octaves == alone.sd_octaves
    # That a higher rate held is theirs to say.
    assert alone.lr == pytest.approx(1e-3)
    assert once.lr == pytest.approx(1.054e-3, rel=1e-3)
    assert alone.loss is not None
    assert once.loss is not None
    assert (alone.loss.basis, once.loss.basis) == ("published", "finals")
    other = run(3e-3, 3.01, family="gpt", id="other", **HERE)
    # Two runs that are not heard still tell a peak with each other.
    left = recommend(asked, [*runs, other], heard={runs[0].id, runs[1].id})
    assert {one.id for one in left.evidence if one.kind == "run" and one.weight} == {
        runs[2].id,
        "other",
    }
