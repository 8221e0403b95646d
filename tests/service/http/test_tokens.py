import string
import zlib

from pacesetter_service.auth.tokens import (
    digest,
    is_well_formed,
    job_token,
    new_token,
    session_of,
)

SECRET = b"a secret of the server, 32 bytes"


def test_a_new_token_is_prefix_random_part_and_checksum() -> None:
    token = new_token()
    assert token.startswith("pace_")
    assert len(token) == 5 + 37 + 6
    assert set(token[5:]) <= set(string.ascii_letters + string.digits)
    assert is_well_formed(token)


def test_two_tokens_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100


def test_the_checksum_is_crc32_in_base_62() -> None:
    token = new_token()
    alphabet = string.ascii_letters + string.digits
    value = 0
    for character in token[-6:]:
        value = value * 62 + alphabet.index(character)
    assert value == zlib.crc32(token[5:42].encode())


def test_every_single_changed_character_is_noticed() -> None:
    token = new_token()
    for place in range(5, len(token)):
        other = "a" if token[place] != "a" else "b"
        assert not is_well_formed(token[:place] + other + token[place + 1 :])


def test_other_texts_are_not_well_formed() -> None:
    token = new_token()
    for text in ("", "pace_", token[5:], token[:-1], token + "a", f"pace_{'é' * 43}"):
        assert not is_well_formed(text)


def test_a_digest_depends_on_secret_and_token_and_is_hexadecimal() -> None:
    first = digest(SECRET, "one")
    assert len(first) == 64
    assert int(first, 16) > 0
    assert first == digest(SECRET, "one")
    assert len({first, digest(SECRET, "two"), digest(SECRET + b"x", "one")}) == 3


def test_a_job_token_is_good_for_its_own_job_only() -> None:
    token = job_token(SECRET, "job_1", "session_7")
    assert token == job_token(SECRET, "job_1", "session_7")
    assert session_of(SECRET, token, "job_1") == "session_7"
    assert session_of(SECRET, token, "job_2") is None
    assert session_of(SECRET + b"x", token, "job_1") is None


def test_a_job_token_with_another_session_written_in_is_refused() -> None:
    mac = job_token(SECRET, "job", "one").rpartition("_")[2]
    assert session_of(SECRET, f"pacejob_two_{mac}", "job") is None


def test_shifting_characters_between_job_and_session_gives_another_token() -> None:
    mac = job_token(SECRET, "ab", "c").rpartition("_")[2]
    assert job_token(SECRET, "a", "bc").rpartition("_")[2] != mac


def test_malformed_job_tokens_are_refused() -> None:
    for text in ("", "pacejob_", "pacejob__", "pacejob_s_", "pacejob_s_é", "pace_x"):
        assert session_of(SECRET, text, "job") is None
