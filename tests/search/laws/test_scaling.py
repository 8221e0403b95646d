"""Sizes and tokens: the published law at first, narrower with every final, and right where the truth is known."""

import csv
import itertools
import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pacesetter_search.laws import LawNotFitted
from pacesetter_search.laws.scaling import FinalLoss, FittedSizeToken, SizeTokenLaw

from benchmarks.public_curves import FOLDER, ladder_finals

TRUTH = (1.9, 300.0, 600.0, 0.33, 0.30)
"""E, A, B, alpha and beta of another data set."""

GRID = [
    (parameters, ratio * parameters)
    for parameters in (2e7, 6e7, 2e8, 6e8)
    for ratio in (10.0, 20.0, 60.0)
]


def true_loss(parameters: float, tokens: float) -> float:
    floor, size, data, alpha, beta = TRUTH
    return float(floor + size * parameters**-alpha + data * tokens**-beta)


def finals(
    points: Sequence[tuple[float, float]] = GRID, noise: float = 0.0, seed: int = 0
) -> list[FinalLoss]:
    drawn = np.random.default_rng(seed).standard_normal(len(points))
    return [
        FinalLoss(
            parameters=parameters,
            tokens=tokens,
            loss=true_loss(parameters, tokens) * float(np.exp(noise * value)),
            sd=0.002,
            name=f"run {number}",
        )
        for number, ((parameters, tokens), value) in enumerate(zip(points, drawn, strict=True))
    ]


def test_no_finals_give_the_published_law_and_a_wide_interval() -> None:
    law = SizeTokenLaw().fit()
    found = law.predict([124e6, 7e10], [2.5e9, 1.4e12])
    by_hand = [
        1.69 + 406.4 * 124e6**-0.34 + 410.7 * 2.5e9**-0.28,
        1.69 + 406.4 * 7e10**-0.34 + 410.7 * 1.4e12**-0.28,
    ]
    assert found.mean == pytest.approx(np.array(by_hand), rel=1e-9)
    assert found.mean == pytest.approx(np.array([3.369, 1.937]), abs=1e-3)
    assert (0.15 * found.mean < found.sd).all()
    assert (found.sd < 0.3 * found.mean).all()
    assert law.coefficients == pytest.approx(
        {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    )
    assert law.influence(1e9, 2e10) == {}
    assert any("no final loss is known" in each for each in law.warnings)


def test_the_prior_is_as_wide_as_what_it_is_made_of() -> None:
    """Drawn from the beliefs themselves: the linear sd is within a fifth of that of the draws."""
    law = SizeTokenLaw()
    generator = np.random.default_rng(0)
    theta = law.mean + law.sd * generator.standard_normal((20_000, 5))
    floor, size, data, alpha, beta = np.exp(theta.T)
    losses = floor + size * (2e8 / 1e9) ** -alpha + data * (4e9 / 5e10) ** -beta
    found = law.fit().predict(2e8, 4e9)
    assert found.sd[0] == pytest.approx(float(np.std(losses)), rel=0.2)
    assert found.mean[0] == pytest.approx(float(np.median(losses)), rel=0.05)


def test_every_final_that_is_added_narrows_the_interval() -> None:
    order = [5, 0, 10, 8, 3, 11, 1, 6, 9, 2, 4, 7]
    known = finals()
    widths = []
    for count in range(len(order) + 1):
        found = SizeTokenLaw().fit([known[number] for number in order[:count]]).predict(3e9, 6e10)
        widths.append(float(found.sd[0] / found.mean[0]))
    # The mode moves with every final as well, by little.
    assert all(later < 1.002 * earlier for earlier, later in itertools.pairwise(widths))
    assert widths[0] > 0.15
    assert widths[1] < 0.6 * widths[0]
    assert widths[-1] < 0.015


def test_one_final_moves_the_level_and_little_else() -> None:
    law = SizeTokenLaw().fit(finals([(2e8, 4e9)]))
    there = law.predict(2e8, 4e9)
    assert there.mean[0] == pytest.approx(true_loss(2e8, 4e9), rel=2e-3)
    assert there.sd[0] < 0.012 * there.mean[0]
    exponents = law.coefficients
    assert exponents["alpha"] == pytest.approx(0.34, rel=0.05)
    assert exponents["beta"] == pytest.approx(0.28, rel=0.1)
    assert len(law.warnings) == 2


def test_many_finals_give_the_truth_far_beyond_them() -> None:
    law = SizeTokenLaw().fit(finals(noise=1e-3, seed=1))
    for parameters, tokens in ((3e9, 6e10), (1e10, 2e11)):
        found = law.predict(parameters, tokens)
        assert found.mean[0] == pytest.approx(true_loss(parameters, tokens), rel=0.015)
        assert abs(found.mean[0] - true_loss(parameters, tokens)) < 1.645 * found.sd[0]
    assert law.warnings == ()


def test_intervals_hold_as_often_as_they_say_where_the_prior_is_true() -> None:
    law, generator = SizeTokenLaw(), np.random.default_rng(3)
    held = []
    for number in range(120):
        truth = law.fit().model_copy(
            update={"parameters": tuple(law.mean + law.sd * generator.standard_normal(5))}
        )
        known: list[FinalLoss] = []
        for parameters, tokens in GRID[:: 1 + number % 4]:
            loss = float(truth.predict(parameters, tokens).mean[0])
            loss *= float(np.exp(0.0065 * generator.standard_normal()))
            known.append(
                FinalLoss(parameters=parameters, tokens=tokens, loss=loss, name=f"{len(known)}")
            )
        found = law.fit(known).predict(4e9, 8e10)
        wanted = float(truth.predict(4e9, 8e10).mean[0])
        held.append(abs(wanted - found.mean[0]) < 1.645 * found.sd[0])
    assert 0.82 <= np.mean(held) <= 0.98


def test_influence_is_what_a_changed_final_does() -> None:
    known = finals(noise=2e-3, seed=4)
    law = SizeTokenLaw().fit(known)
    influence = law.influence(3e9, 6e10)
    assert list(influence) == [final.name for final in known]
    before = law.predict(3e9, 6e10).mean[0]
    for number in (0, 5, 11):
        moved = [*known]
        moved[number] = known[number].model_copy(update={"loss": known[number].loss * 1.001})
        after = SizeTokenLaw().fit(moved).predict(3e9, 6e10).mean[0]
        assert np.log(after / before) / np.log(1.001) == pytest.approx(
            influence[known[number].name], abs=0.06
        )


def test_one_wild_final_does_not_carry_the_rest_along() -> None:
    known = finals()
    known[4] = known[4].model_copy(update={"loss": 2.0 * known[4].loss})
    found = SizeTokenLaw().fit(known).predict(3e9, 6e10)
    assert found.mean[0] == pytest.approx(true_loss(3e9, 6e10), rel=0.03)
    assert found.sd[0] > SizeTokenLaw().fit(finals()).predict(3e9, 6e10).sd[0]


def test_finals_that_scatter_widen_the_interval() -> None:
    calm = SizeTokenLaw().fit(finals(noise=0.002, seed=5))
    wild = SizeTokenLaw().fit(finals(noise=0.04, seed=5))
    assert wild.law_sd > 2.0 * calm.law_sd
    assert wild.predict(3e9, 6e10).sd[0] > 2.0 * calm.predict(3e9, 6e10).sd[0]


@settings(max_examples=60, deadline=None)
@given(
    kept=st.sets(st.sampled_from(range(len(GRID))), max_size=6),
    noise=st.floats(0.0, 0.3),
    parameters=st.floats(1e6, 1e12),
    tokens=st.floats(1e7, 1e14),
    factor=st.floats(1.01, 1e3),
)
def test_more_parameters_and_more_tokens_never_cost(
    kept: set[int], noise: float, parameters: float, tokens: float, factor: float
) -> None:
    law = SizeTokenLaw().fit(finals([GRID[number] for number in sorted(kept)], noise, 6))
    here = law.predict(parameters, tokens).mean[0]
    assert law.predict(factor * parameters, tokens).mean[0] < here
    assert law.predict(parameters, factor * tokens).mean[0] < here


def test_it_survives_json_and_predicts_the_same_bits() -> None:
    law = SizeTokenLaw().fit(finals(noise=1e-3))
    again = FittedSizeToken.model_validate_json(law.model_dump_json())
    assert again == law
    assert again.predict(1e9, 2e10).sd.tolist() == law.predict(1e9, 2e10).sd.tolist()


def test_the_order_of_finals_does_not_matter() -> None:
    known = finals(noise=3e-3)
    here, there = (SizeTokenLaw().fit(each).predict(3e9, 6e10) for each in (known, known[::-1]))
    assert there.mean == pytest.approx(here.mean, rel=1e-7)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tokens": 2.0}, "run 0 has 2e+07 parameters and 2 tokens: are both in units of one"),
        ({"parameters": 0.02}, "run 0 has 0.02 parameters"),
        ({"loss": 60.0}, "run 0 ended at 60, and .* is it in nats a token"),
    ],
)
def test_other_units_are_said(changed: dict[str, float], words: str) -> None:
    odd = [final.model_copy(update=changed) for final in finals(GRID[:1])]
    assert any(
        re.match(words.replace("+", r"\+"), each) for each in SizeTokenLaw().fit(odd).warnings
    )


def test_two_finals_of_one_name_and_sizes_below_zero_are_refused() -> None:
    (known,) = finals(GRID[:1])
    with pytest.raises(LawNotFitted, match="share a name"):
        SizeTokenLaw().fit([known, known])
    for parameters, tokens in ((0.0, 1e9), (1e9, -1.0), (np.inf, 1e9)):
        with pytest.raises(ValueError, match="above zero and finite"):
            SizeTokenLaw().fit().predict(parameters, tokens)


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public finals are not at {FOLDER}")
def test_small_models_of_the_ladder_predict_the_largest_one() -> None:
    known = ladder_finals("c4_loss")
    small = [final for final in known if not final.name.startswith("760M")]
    large = [final for final in known if final.name.startswith("760M")]
    assert (len(small), len(large)) == (10, 5)
    law = SizeTokenLaw().fit(small)
    found = law.predict([f.parameters for f in large], [f.tokens for f in large])
    errors = found.mean / np.array([final.loss for final in large]) - 1.0
    assert float(np.mean(np.abs(errors))) < 0.01
    assert np.abs(errors / (found.sd / found.mean)).max() < 1.645


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the public finals are not at {FOLDER}")
def test_finals_of_the_ladder_are_those_of_its_files() -> None:
    known = {final.name: final for final in ladder_finals("pile_loss")}
    with (FOLDER / "olmo_ladder" / "370M-2xC.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert known["370M-2xC"].loss == float(last["pile_loss"])
    assert known["370M-2xC"].tokens / known["370M-2xC"].parameters == pytest.approx(40.0, rel=0.01)
