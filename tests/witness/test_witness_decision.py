"""What a witness refuses, one test for each way to deceive it; and what it remembers then."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.witness.witness_helpers import AT, LOG, NAME, ORIGIN, Log, witness_at

from federation_core.errors import (
    Conflict,
    Forbidden,
    IntegrityError,
    NotFound,
    SettingsError,
)
from federation_core.transparency import (
    Checkpoint,
    Note,
    SigningKey,
    VerifierKey,
    cosign,
    leaf_hash,
    sign_checkpoint,
    sign_note,
    verify_cosignature,
)
from federation_core.witness import (
    AddCheckpoint,
    ForkedLog,
    Home,
    InconsistentLog,
    LogSignature,
    RequestMalformed,
    Seen,
    StaleSize,
    UnknownLog,
    Witness,
    WitnessError,
    read_logs,
)


class Desk:
    """A witness, and what it remembers of the log."""

    def __init__(self, home: Home, witness: Witness) -> None:
        self.home, self.witness = home, witness

    @property
    def size(self) -> int | None:
        seen = self.home.store.latest(ORIGIN)
        return None if seen is None else seen.size

    def grant(self, request: AddCheckpoint) -> int:
        """Ask for what is to be granted; the time of the cosignature, which is verified."""
        [line] = self.witness.add_checkpoint(request)
        return verify_cosignature(request.note.text, line, self.home.verifier)

    def refuse(self, request: AddCheckpoint, error: type[WitnessError]) -> WitnessError:
        """Ask for what is to be refused with this; nothing is remembered of it."""
        before = self.home.store.latest(ORIGIN)
        with pytest.raises(WitnessError) as caught:
            self.witness.add_checkpoint(request)
        assert type(caught.value) is error, caught.value
        assert self.home.store.latest(ORIGIN) == before
        return caught.value


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(*witness_at(tmp_path))
    yield desk
    desk.home.store.close()


def test_a_log_that_grows_is_cosigned(desk: Desk) -> None:
    last = 0
    for size in (1, 2, 3, 8, 13, 32, 63, 64):
        assert desk.grant(LOG.request(last, size)) == AT
        assert desk.size == size
        last = size
    assert desk.home.store.latest(ORIGIN) == Seen(64, LOG.checkpoint(64).root)


def test_every_step_of_a_log_is_cosigned(desk: Desk) -> None:
    for size in range(1, 65):
        desk.grant(LOG.request(size - 1, size))
    assert desk.size == 64


def test_an_empty_log_is_cosigned_and_grows(desk: Desk) -> None:
    desk.grant(LOG.request(0, 0))
    assert desk.size == 0
    desk.grant(LOG.request(0, 0))
    desk.grant(LOG.request(0, 7))
    assert desk.size == 7


def test_the_same_checkpoint_is_cosigned_again(desk: Desk) -> None:
    """Whoever did not hear the answer asks again, from the size that is remembered now."""
    desk.grant(LOG.request(0, 5))
    desk.refuse(LOG.request(0, 5), StaleSize)
    desk.grant(LOG.request(5, 5))
    assert desk.size == 5


def test_an_unknown_log(desk: Desk) -> None:
    other = Log("log.example/b")
    error = desk.refuse(other.request(0, 5), UnknownLog)
    assert isinstance(error, NotFound)
    assert "log.example/b" in error.detail


def test_a_checkpoint_that_another_key_signed(desk: Desk) -> None:
    error = desk.refuse(Log(seed=2).request(0, 5), LogSignature)
    assert isinstance(error, Forbidden)


def test_a_checkpoint_whose_signature_does_not_hold(desk: Desk) -> None:
    note = Note(LOG.checkpoint(5).text(), LOG.note(6).signatures)
    desk.refuse(AddCheckpoint(0, (), note), LogSignature)


def test_a_cosignature_does_not_stand_for_the_logs_signature(desk: Desk) -> None:
    text = LOG.checkpoint(5).text()
    own = cosign(text, NAME, desk.home.key, AT)
    logs = cosign(text, ORIGIN, LOG.key, AT)
    desk.refuse(AddCheckpoint(0, (), Note(text, (own, logs))), LogSignature)


def test_one_log_signing_as_another(tmp_path: Path) -> None:
    """Both are known; each only for its own origin."""
    other = Log("log.example/b", seed=2)
    desk = Desk(*witness_at(tmp_path, LOG.verifier, other.verifier))
    text = LOG.checkpoint(5).text()
    note = Note(text, (sign_note(text, other.origin, other.key),))
    desk.refuse(AddCheckpoint(0, (), note), LogSignature)
    desk.grant(AddCheckpoint(0, (), LOG.note(5)))
    [line] = desk.witness.add_checkpoint(other.request(0, 9))
    verify_cosignature(other.checkpoint(9).text(), line, desk.home.verifier)
    assert desk.size == 5
    assert desk.home.store.latest(other.origin) == Seen(9, other.checkpoint(9).root)
    desk.home.store.close()


def test_further_signatures_are_passed_over(desk: Desk) -> None:
    text = LOG.checkpoint(5).text()
    lines = (
        sign_note(text, "stranger.example", SigningKey(bytes(32))),
        *LOG.note(5).signatures,
        cosign(text, "witness.example/other", SigningKey(bytes(32)), AT),
    )
    desk.grant(AddCheckpoint(0, (), Note(text, lines)))
    assert desk.size == 5


def test_a_log_whose_key_was_rotated(tmp_path: Path) -> None:
    after = Log(seed=2)
    desk = Desk(*witness_at(tmp_path, LOG.verifier, after.verifier))
    desk.grant(LOG.request(0, 5))
    desk.grant(after.request(5, 9))
    assert desk.size == 9
    desk.home.store.close()


def test_the_logs_key_signed_twice(desk: Desk) -> None:
    [line] = LOG.note(5).signatures
    note = Note(LOG.checkpoint(5).text(), (line, line))
    desk.refuse(AddCheckpoint(0, (), note), RequestMalformed)


@pytest.mark.parametrize(
    "text",
    [
        "log.example/a\n5\n",
        "log.example/a\n5\nAAAA\n",
        f"{LOG.checkpoint(5).text()}extension\n",
        LOG.checkpoint(5).text().replace("\n5\n", "\n05\n"),
        LOG.checkpoint(5).text().replace("\n5\n", "\n0\n"),
    ],
    ids=["no-root", "short-root", "extension", "zeros", "empty-tree-with-a-root"],
)
def test_a_signed_text_that_is_no_checkpoint(desk: Desk, text: str) -> None:
    note = Note(text, (sign_note(text, ORIGIN, LOG.key),))
    desk.refuse(AddCheckpoint(0, (), note), RequestMalformed)


def test_an_old_size_above_the_checkpoints(desk: Desk) -> None:
    desk.refuse(AddCheckpoint(6, (), LOG.note(5)), RequestMalformed)


@pytest.mark.parametrize("old", [0, 1, 7, 9, 10])
def test_an_old_size_that_is_not_the_last(desk: Desk, old: int) -> None:
    desk.grant(LOG.request(0, 8))
    error = desk.refuse(LOG.request(old, 12), StaleSize)
    assert isinstance(error, StaleSize)
    assert isinstance(error, Conflict)
    assert error.size == 8


def test_a_log_that_the_witness_never_saw_has_the_size_zero(desk: Desk) -> None:
    error = desk.refuse(LOG.request(4, 12), StaleSize)
    assert isinstance(error, StaleSize)
    assert error.size == 0


def test_a_rollback(desk: Desk) -> None:
    """From the size that the log would like to be remembered, and from the one that is."""
    desk.grant(LOG.request(0, 12))
    desk.refuse(LOG.request(0, 8), StaleSize)
    desk.refuse(LOG.request(8, 8), StaleSize)
    desk.refuse(AddCheckpoint(12, (), LOG.note(8)), RequestMalformed)
    desk.refuse(LOG.request(0, 0), StaleSize)


def test_two_trees_of_one_size(desk: Desk) -> None:
    desk.grant(LOG.request(0, 12))
    error = desk.refuse(Log(fork=6).request(12, 12), ForkedLog)
    assert isinstance(error, IntegrityError)
    assert LOG.checkpoint(12).root.hex() in error.detail
    assert Log(fork=6).checkpoint(12).root.hex() in error.detail


def test_two_first_trees_of_one_size(desk: Desk) -> None:
    desk.grant(LOG.request(0, 12))
    desk.refuse(Log(fork=6).request(0, 12), StaleSize)


@pytest.mark.parametrize("fork", [0, 5, 7, 11])
def test_a_larger_tree_with_another_history(desk: Desk, fork: int) -> None:
    """With its own honest proof, and with that of the true log."""
    desk.grant(LOG.request(0, 12))
    other = Log(fork=fork)
    error = desk.refuse(other.request(12, 20), InconsistentLog)
    assert isinstance(error, IntegrityError)
    mixed = AddCheckpoint(12, LOG.proof(12, 20), other.note(20))
    desk.refuse(mixed, InconsistentLog)


def test_a_log_that_forks_later_is_one_that_grew(desk: Desk) -> None:
    """What comes after the last cosigned size is the log's own affair."""
    desk.grant(LOG.request(0, 12))
    desk.grant(Log(fork=12).request(12, 20))
    desk.refuse(LOG.request(20, 30), InconsistentLog)


def test_a_proof_with_each_hash_corrupted_dropped_or_doubled(desk: Desk) -> None:
    desk.grant(LOG.request(0, 13))
    proof, note = LOG.proof(13, 60), LOG.note(60)
    for i, value in enumerate(proof):
        flipped = bytes([value[0] ^ 1]) + value[1:]
        for wrong in (
            (*proof[:i], flipped, *proof[i + 1 :]),
            (*proof[:i], *proof[i + 1 :]),
            (*proof[: i + 1], *proof[i:]),
        ):
            desk.refuse(AddCheckpoint(13, wrong, note), InconsistentLog)
    desk.refuse(AddCheckpoint(13, (), note), InconsistentLog)
    desk.grant(AddCheckpoint(13, proof, note))


def test_a_proof_where_none_belongs(desk: Desk) -> None:
    surplus = (leaf_hash(b""),)
    desk.refuse(AddCheckpoint(0, surplus, LOG.note(5)), InconsistentLog)
    desk.grant(LOG.request(0, 5))
    desk.refuse(AddCheckpoint(5, surplus, LOG.note(5)), InconsistentLog)


def test_nothing_is_told_of_a_log_to_who_is_not_that_log(desk: Desk) -> None:
    """The size is told after the signature was verified, and not before."""
    desk.grant(LOG.request(0, 12))
    desk.refuse(Log(seed=2).request(0, 5), LogSignature)
    desk.refuse(AddCheckpoint(99, (), Log(seed=2).note(5)), LogSignature)


def test_what_stands_in_the_cosignature(desk: Desk) -> None:
    request = LOG.request(0, 5)
    [line] = desk.witness.add_checkpoint(request)
    message = f"cosignature/v1\ntime {AT}\n{request.note.text}".encode()
    assert line.name == NAME
    assert line.signature == AT.to_bytes(8, "big") + desk.home.key.sign(message)


def test_a_witness_must_know_a_log(desk: Desk) -> None:
    with pytest.raises(SettingsError, match="must know a log"):
        Witness(desk.home, [])
    with pytest.raises(SettingsError, match="no log's"):
        Witness(desk.home, [desk.home.verifier])


def test_the_logs_of_a_file() -> None:
    other = Log("log.example/b").verifier
    text = f"# logs\n\n{LOG.verifier.text}\n  log {other.text}  # of b\n"
    assert read_logs(text) == [LOG.verifier, other]
    assert read_logs("") == []


@pytest.mark.parametrize(
    "line", ["log", "x", f"witness {LOG.verifier.text}", f"{LOG.verifier.text} x", "log  a b"]
)
def test_a_line_that_is_no_log(line: str) -> None:
    with pytest.raises(SettingsError, match="Line 2 of the logs"):
        read_logs(f"{LOG.verifier.text}\n{line}\n")


def test_a_checkpoint_of_the_largest_size_there_is(desk: Desk) -> None:
    """A log that lies about its size is believed once, and can never prove anything again."""
    huge = Checkpoint(ORIGIN, 2**63 - 1, leaf_hash(b""))
    desk.grant(AddCheckpoint(0, (), sign_checkpoint(huge, LOG.key)))
    assert desk.size == 2**63 - 1
    desk.refuse(LOG.request(0, 5), StaleSize)


def test_the_key_of_a_witness_is_none_of_a_log(desk: Desk) -> None:
    assert VerifierKey.parse(desk.home.verifier.text).algorithm == 0x04
