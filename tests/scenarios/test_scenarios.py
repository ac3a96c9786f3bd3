"""Every rule of the cache as a conversation that can be read; the form is described in README.md here."""

from pathlib import Path

import pytest

from tests.scenarios.player import Misplayed, play

FILES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
async def test_scenario(file, autojump_clock):
    """The conversation goes as it is written."""
    text = file.read_text("utf-8")
    assert text.startswith("# "), "the first line states the rule"
    await play(text)


def test_there_are_scenarios():
    """They have been found."""
    assert len(FILES) >= 30


ANSWER = "UPSTREAM a. A\n answer a. 60 IN A 192.0.2.1\nQUERY a. A\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ANSWER + "EXPECT\n answer a. 59 IN A 192.0.2.1\n", "4: answer: got"),
        (ANSWER + "EXPECT\n", "4: answer: got"),
        (ANSWER + "EXPECT NXDOMAIN\n answer a. 60 IN A 192.0.2.1\n", "4: rcode: got NOERROR"),
        (ANSWER + "EXPECT after=1\n answer a. 60 IN A 192.0.2.1\n", "4: after: got 0"),
        (ANSWER + "EXPECT ede=3\n answer a. 60 IN A 192.0.2.1\n", "4: ede: got"),
        (ANSWER + "EXPECT +ad\n answer a. 60 IN A 192.0.2.1\n", "4: flags: got"),
        (ANSWER + "ASKED 2\n", "4: 1 queries went upstream"),
        (ANSWER, "without an EXPECT"),
        ("QUERY a. A +x\n", "1: QUERY: cannot be read"),
        ("UPSTREAM a. A delay=1 SLOW\n", "1: UPSTREAM: cannot be read"),
        ("EXPECTED\n", "1: EXPECTED: no such verb"),
        (" answer\n", "1: expected one of"),
    ],
)
async def test_the_player_is_strict(text, words, autojump_clock):
    """Whatever is not as it is written fails, and so does what cannot be read."""
    with pytest.raises((Misplayed, ExceptionGroup)) as raised:
        await play(text)
    error = raised.value
    while isinstance(error, ExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, Misplayed)
    assert words in str(error)
