"""What the tests of messages are worth: each bug planted here breaks a promise, and one sees it.

In the manner of `test_planted_framing_bugs`, whose tools these are.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Awaitable, Callable
from functools import partial

import hypothesis.strategies as st
import pytest
import test_message_decoder as decoding
import test_message_encoder as encoding
import test_typed_channels as typed
import test_typed_scripts as scripts
import trio
from small_codecs import Raw
from test_planted_framing_bugs import PLAY, SYMPTOMS, mutant

from trio_bytesbuf.wire import MessageEncoder, ViewCodec
from trio_bytesbuf.wire._message_cutter import MessageCutter
from trio_bytesbuf.wire._typed_receive import ReceivesMessages
from trio_bytesbuf.wire._typed_send import SendsMessages

Check = Callable[[], object]


def claim(test: Callable[..., None], **strategies: st.SearchStrategy[object]) -> Check:
    """Return a run of a test that hypothesis plays, with as many examples as are needed here."""

    @PLAY
    @decoding.given(**strategies)
    def play(**drawn):
        test.hypothesis.inner_test(**drawn)

    return play


def run(test: Callable[..., Awaitable[object]], *args: object) -> Check:
    """Return a run of an async test, which fails where it would wait for ever."""

    async def main() -> None:
        with trio.fail_after(2):
            await test(*args)

    return partial(trio.run, main)


both_ways = claim(
    decoding.test_both_ways_have_one_outcome,
    payloads=decoding.PAYLOADS,
    codec=decoding.CODECS,
    checksums=st.booleans(),
    cuts=decoding.CUTS,
    by=st.integers(1, 5),
)
truncations = claim(
    decoding.test_every_truncation_is_an_error_or_an_end,
    payloads=decoding.PAYLOADS,
    checksums=st.booleans(),
    version=st.sampled_from([1, 2]),
    finds_out=st.booleans(),
    where=st.integers(0, 10**6),
)
LIMITED = partial(decoding.test_a_limit_is_kept_to_the_byte, 251, True)
LIMITED_LARGE = partial(decoding.test_a_limit_is_kept_to_the_byte, 65_536, True)
DAMAGED = partial(decoding.test_a_message_that_is_damaged_is_gone_and_the_next_one_comes, 1)
DAMAGED_LARGE = partial(
    decoding.test_a_message_that_is_damaged_is_gone_and_the_next_one_comes, 100_000
)
ERRORS = partial(decoding.test_what_a_codec_raises_is_of_one_message, 1000)


def found_out(data: bytes, *, is_ended: bool, version: object, wanted: list[object]) -> Check:
    return partial(decoding.test_the_version_is_found_out, data, is_ended, version, wanted)


CUTTER_BUGS: dict[str, tuple[object, str, str, str, Check]] = {
    "short lengths are not held to the limit": (
        MessageCutter,
        "_cut",
        "if end + after > stop or nbytes > limit:",
        "if end + after > stop:",
        LIMITED,
    ),
    "long lengths are held to one more": (
        MessageCutter,
        "_look_everywhere",
        "if nbytes > self.max_nbytes:",
        "if nbytes > self.max_nbytes + 1:",
        LIMITED_LARGE,
    ),
    "a checksum that has not come is not waited for": (
        MessageCutter,
        "_cut",
        "if end + after > stop or",
        "if end > stop or",
        both_ways,
    ),
    "a checksum across a border is not waited for": (
        MessageCutter,
        "_look_everywhere",
        "if total > len(buffer):",
        "if total - self._after_nbytes > len(buffer):",
        both_ways,
    ),
    "a small message is not checked": (
        MessageCutter,
        "_cut",
        "siphash(KEY, payload) != _CHECKSUM(text, end)[0]",
        "False",
        DAMAGED,
    ),
    "a large message is not checked": (
        MessageCutter,
        "_decoded",
        "if sent != computed:",
        "if False:",
        DAMAGED_LARGE,
    ),
    "checksums that nobody wants are taken for messages": (
        MessageCutter,
        "_agree_on",
        "CHECKSUM_NBYTES if has_checksums else 0",
        "CHECKSUM_NBYTES if self.checks_checksums else 0",
        partial(decoding.test_checksums_are_a_matter_of_both, True, False),
    ),
    "checksums that are not there are waited for": (
        MessageCutter,
        "_agree_on",
        "if not has_checksums:",
        "if False:",
        partial(decoding.test_checksums_are_a_matter_of_both, False, True),
    ),
    "what comes before an error is lost": (
        MessageCutter,
        "take_batch",
        "if items:\n                self._seen_nbytes = 0\n                break",
        "if False:\n                break",
        ERRORS,
    ),
    "a bad message comes twice, behind a batch": (
        MessageCutter,
        "take_batch",
        "self._seen_nbytes = 0\n                break",
        "self.pass_by()\n                break",
        ERRORS,
    ),
    "a bad message is not passed by": (
        MessageCutter,
        "take",
        "except Exception:\n        self.pass_by()\n        raise",
        "except Exception:\n        raise",
        ERRORS,
    ),
    "a bad message is not passed by in a batch": (
        MessageCutter,
        "take_batch",
        "self.pass_by()\n            raise",
        "raise",
        ERRORS,
    ),
    "what ended it is forgotten": (
        MessageCutter,
        "_fail",
        "self._failure = error",
        "pass",
        decoding.test_the_handshake_is_two_or_three,
    ),
    "any handshake will do": (
        MessageCutter,
        "_read_header",
        "if feature not in (WITH_CHECKSUMS, WITHOUT_CHECKSUMS):",
        "if feature > WITHOUT_CHECKSUMS:",
        decoding.test_the_handshake_is_two_or_three,
    ),
    "any version will do that looks like 2": (
        MessageCutter,
        "_read_header",
        "theirs != ProtocolVersion.V2",
        "theirs & 0xFFFF != ProtocolVersion.V2",
        decoding.test_another_version_ends_it_and_keeps_what_was_seen,
    ),
    "four bytes are enough to be version 2": (
        MessageCutter,
        "_read_header",
        "len(front) <= len(FRONT)",
        "len(front) < len(FRONT)",
        found_out(b"\2\0\0\0", is_ended=True, version=decoding.V1, wanted=[b"\0\0", decoding.END]),
    ),
    "version 1 is found out by its first byte only": (
        MessageCutter,
        "_read_header",
        "is_other = not FRONT.startswith(front)",
        "is_other = front[:1] not in FRONT[:1]",
        found_out(
            b"\2\0\1",
            is_ended=False,
            version=decoding.V1,
            wanted=[b"\0\1", decoding.NEED_DATA],
        ),
    ),
    "an end is no end of a search for the version": (
        MessageCutter,
        "_read_header",
        "if not (is_other or self.is_eof):",
        "if not is_other:",
        found_out(b"\2\0\0\0", is_ended=True, version=decoding.V1, wanted=[b"\0\0", decoding.END]),
    ),
    "a stream that was cut has ended": (
        MessageCutter,
        "_missing",
        "if arrived or self.requires_goodbye:",
        "if self.requires_goodbye:",
        truncations,
    ),
    "a goodbye is never required": (
        MessageCutter,
        "_missing",
        "if arrived or self.requires_goodbye:",
        "if arrived:",
        partial(decoding.test_a_goodbye_can_be_required, decoding.WITH),
    ),
    "what comes behind the goodbye is read": (
        MessageCutter,
        "_look_everywhere",
        "if self._state is State.ENDED:",
        "if False:",
        partial(decoding.test_what_comes_behind_the_goodbye_is_left, False),
    ),
    "an empty message has the length of its marker": (
        MessageCutter,
        "_cut",
        "nbytes = 0\n",
        "pass\n",
        both_ways,
    ),
    "a length of two bytes has the wrong order": (
        MessageCutter,
        "_cut",
        "text[at + 1] | text[at + 2] << 8",
        "text[at + 2] | text[at + 1] << 8",
        both_ways,
    ),
    "a length across a border is not waited for": (
        MessageCutter,
        "_cut",
        "if begin > stop:",
        "if begin > stop + 1:",
        both_ways,
    ),
    "a window that was taken stays": (
        MessageCutter,
        "pass_by",
        "if end < buffer._stop:",
        "if end <= buffer._stop:",
        both_ways,
    ),
    "a batch has no end": (
        MessageCutter,
        "take_batch",
        "and taken < ENOUGH_NBYTES",
        "",
        partial(
            decoding.test_a_batch_ends_with_the_message_that_brings_it_to_128_kib,
            ViewCodec(),
            100_000,
        ),
    ),
    "a view shows what is behind it": (
        MessageCutter,
        "_cut",
        "payload = window[begin:end]",
        "payload = window[begin : end + 1]",
        partial(decoding.test_codecs_are_given_what_they_were_promised, 252, True),
    ),
    "large payloads are copied": (
        MessageCutter,
        "_decoded",
        "given = payload.to_bytes() if is_small else payload.contiguous()",
        "given = payload.to_bytes()",
        partial(
            decoding.test_codecs_are_given_what_they_were_promised,
            decoding.SMALL_NBYTES + 1,
            False,
        ),
    ),
}

ENCODER_BUGS: dict[str, tuple[object, str, str, str, Check]] = {
    "each of several has a header": (
        MessageEncoder,
        "messages_of",
        'before = b""',
        "pass",
        encoding.test_the_header_stands_before_what_is_said_first,
    ),
    "what is refused has said the header": (
        MessageEncoder,
        "encode",
        "data = self.message_of(value)\n    self.has_said_something()",
        "self.has_said_something()\n    data = self.header_due() + self.message_of(value)",
        encoding.test_what_is_refused_leaves_no_trace,
    ),
    "a limit is one less": (
        MessageEncoder,
        "_framed",
        "if nbytes > self.max_nbytes:",
        "if nbytes >= self.max_nbytes:",
        encoding.test_a_limit_of_nothing_lets_empty_messages_pass,
    ),
    "a goodbye is said twice": (
        MessageEncoder,
        "has_said_goodbye",
        "self._state = _ENDED",
        "pass",
        encoding.test_nothing_comes_behind_the_end,
    ),
    "a large payload has no checksum": (
        MessageEncoder,
        "_framed",
        "map(BytesView, (before, data, after))",
        "map(BytesView, (before, data))",
        partial(encoding.test_a_message_of_each_size, 65_536, True, Raw()),
    ),
}

THEIRS = ("theirs", trio.BrokenResourceError)
"""Who has closed, and what comes of it."""

CHANNEL_BUGS: dict[str, tuple[object, str, str, str, Check]] = {
    "closing says no goodbye": (
        SendsMessages,
        "aclose",
        "self._put_goodbye()",
        "pass",
        run(typed.test_closing_says_goodbye_once),
    ),
    "closing by force says goodbye": (
        SendsMessages,
        "__aexit__",
        "await trio.aclose_forcefully(self)",
        "await self.aclose()",
        run(typed.test_closing_by_force_says_no_goodbye),
    ),
    "a goodbye that nobody hears is an error": (
        SendsMessages,
        "aclose",
        "if not is_silent:",
        "if True:",
        run(typed.test_a_goodbye_that_nobody_hears_is_no_error, *THEIRS, False),
    ),
    "messages that nobody hears are none": (
        SendsMessages,
        "aclose",
        "if not is_silent:",
        "if False:",
        run(typed.test_a_goodbye_that_nobody_hears_is_no_error, *THEIRS, True),
    ),
    "a goodbye has to fit": (
        SendsMessages,
        "_put_goodbye",
        "self._writer._put(BytesView(self._encoder.goodbye_due()))",
        "self._writer.write(self._encoder.goodbye_due())",
        run(typed.test_a_goodbye_finds_room_in_a_full_buffer),
    ),
    "each message that is fed has a header": (
        SendsMessages,
        "feed",
        "encoder.has_said_something()",
        "pass",
        run(typed.test_closing_says_goodbye_once),
    ),
    "a send that is refused has said the header": (
        SendsMessages,
        "feed",
        "writer.write(encoder.message_of(value))",
        "encoder.has_said_something()\n    writer.write(encoder.message_of(value))",
        run(typed.test_what_is_refused_leaves_no_trace),
    ),
    "a send that was cancelled before it began has sent": (
        SendsMessages,
        "_claim",
        "await checkpoint_if_cancelled()",
        "pass",
        run(scripts.test_a_send_can_be_cancelled_wherever_it_yields, "send"),
    ),
    "a goodbye is not the end": (
        SendsMessages,
        "send",
        "if self._encoder.is_ended:",
        "if False:",
        run(typed.test_nothing_is_sent_behind_the_end, typed.SENDING["send"]),
    ),
    "the stream is not half closed": (
        SendsMessages,
        "send_eof",
        "await writer._send_eof()",
        "pass",
        run(typed.test_a_stream_is_half_closed_behind_a_goodbye),
    ),
    "errors of messages let nobody else run": (
        ReceivesMessages,
        "receive",
        "await checkpoint()  # the peer may have sent many of these",
        "pass",
        run(typed.test_each_way_to_receive_is_a_checkpoint),
    ),
    "an error is lost by cancellation": (
        ReceivesMessages,
        "receive",
        "await checkpoint()  # the peer may have sent many of these",
        "cutter.pass_by()\n            await checkpoint()",
        run(scripts.test_what_has_arrived_is_not_lost_by_cancellation, b"\1"),
    ),
    "a message is taken before others run": (
        ReceivesMessages,
        "receive",
        "if item is not NEED_DATA:\n            await checkpoint()",
        "if item is not NEED_DATA:\n            cutter.pass_by()\n            await checkpoint()",
        run(scripts.test_what_has_arrived_is_not_lost_by_cancellation, b"\0"),
    ),
    "an end is waited for behind the goodbye": (
        ReceivesMessages,
        "receive_batch",
        "while not (items or cutter.is_over):",
        "while not items:",
        partial(run(typed.test_messages_come_once_and_in_order, True)),
    ),
    "bytes are kept that were given back": (
        typed.TypedReceiveChannel,
        "into_inner",
        "0 if reader is self._inner else len(buffer)",
        "0",
        run(typed.test_a_source_is_given_back_with_what_is_unread),
    ),
    "a default is not for messages that are None": (
        ReceivesMessages,
        "try_receive",
        "return default if item is NEED_DATA or item is OVER else item",
        "return None if item is NEED_DATA or item is OVER else item",
        run(typed.test_what_is_at_hand_is_received_without_waiting),
    ),
}

BUGS = CUTTER_BUGS | ENCODER_BUGS | CHANNEL_BUGS


def shows_a_bug(exc: BaseException) -> bool:
    """Say whether an error is a symptom, and not of a mutant that is no program at all."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(shows_a_bug, exc.exceptions))
    return isinstance(exc, (*SYMPTOMS, trio.BrokenResourceError, trio.TooSlowError, ValueError))


@pytest.mark.parametrize(("owner", "name", "old", "new", "check"), BUGS.values(), ids=BUGS.keys())
def test_every_planted_bug_is_seen(owner, name, old, new, check, monkeypatch) -> None:
    """With the bug, a claim fails, an error does not come, or one comes that should not."""
    monkeypatch.setattr(owner, name, mutant(getattr(owner, name), old, new))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what fails half way leaves things open
        assert is_seen_by(check), "nothing has seen it"
        gc.collect()


def is_seen_by(check: Check) -> bool:
    """Say whether a check fails, in a way that is no fault of the mutant as a program."""
    try:
        check()
    except BaseException as exc:
        if not shows_a_bug(exc):
            raise
        return True
    return False


CHECKS = {id(bug[-1]): (name, bug[-1]) for name, bug in BUGS.items()}


@pytest.mark.parametrize(
    "check", [check for _, check in CHECKS.values()], ids=[name for name, _ in CHECKS.values()]
)
def test_nothing_is_seen_where_nothing_is_planted(check) -> None:
    """The same checks, as they are played here, pass on the library as it is."""
    check()
