"""The plaintext proof over all rows that were run; each row has made its own at its end."""

from tests.faults.lab import Lab
from tests.faults.laboratory import Laboratory


def test_capture_sees(lab: Lab) -> None:
    """A question that a client sends past the resolver in clear is found: the proof can fail."""
    lab.open()
    lab.internet.call(do="open", at=("1.0.0.1", 53), kind="plain")
    lab.start()
    lab.settle()
    assert lab.ask(to=("1.0.0.1", 53)).right
    assert lab.ask(to=("1.0.0.1", 53), via="tcp").right
    lab.expect_leaks = True


def test_nothing_left_in_clear(laboratory: Laboratory, request) -> None:
    """Of all that was asked in all rows, no octet of a name was in clear outside client and listener."""
    laboratory.wait_for_others(request.node)
    proof = laboratory.proof
    assert not proof.leaks, proof.leaks[:5]
    # Names were seen where they may be, and much that cannot be read everywhere else: the capture worked.
    assert proof.asked >= 2 * laboratory.rows
    assert proof.encrypted >= proof.asked * 50
