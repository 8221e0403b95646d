"""What the errors say."""

import pytest
from pacesetter import RegistrationRefused


@pytest.mark.parametrize(
    ("detail", "hint", "text"),
    [
        ("no such strategy", "choose one of: fixed", "no such strategy. Choose one of: fixed."),
        ("No such strategy.", "Choose one of: fixed.", "No such strategy. Choose one of: fixed."),
        ("no such strategy", "", "no such strategy"),
    ],
)
def test_a_problem_and_its_hint_are_two_sentences(detail: str, hint: str, text: str) -> None:
    error = RegistrationRefused(detail, code="UNKNOWN_STRATEGY", status=422, hint=hint)
    assert str(error) == text
    assert (error.detail, error.hint) == (detail, hint)
