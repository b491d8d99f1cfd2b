"""What the tests of framing are worth: each bug planted here breaks a promise, and one sees it.

A bug is a line of the library with something else in its place. Who changes such a line is told by
`mutant` that the bug has to be planted anew.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from types import FunctionType, ModuleType

import hypothesis
import hypothesis.strategies as st
import pytest
import test_decoder as decoder
import test_framings as framed
import test_receive_buffer as buffered
from hypothesis.stateful import run_state_machine_as_test
from machine_receive_buffer import DELIMITERS, FAMILIES, ReceiveBufferMachine

from trio_bytesbuf._errors import BadFrame, BytesBufError
from trio_bytesbuf.buffered import (
    Delimited,
    FixedLength,
    LengthPrefixed,
    Netstring,
    ReceiveBuffer,
    UniversalLines,
    VarintPrefixed,
    _framings,
    _receive_buffer,
)
from trio_bytesbuf.buffered._cutter import FrameCutter

PLAY = hypothesis.settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[hypothesis.Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(hypothesis.HealthCheck),
)

SYMPTOMS = (AssertionError, pytest.fail.Exception, BytesBufError)
"""What shows a bug: a claim that does not hold, an error that does not come, or one that should
not. A mutant that is no program at all (NameError, TypeError) counts as not seen."""

Check = Callable[[], None]


def the_machine() -> None:
    """Play until the first failure, which is not made any smaller."""
    run_state_machine_as_test(ReceiveBufferMachine, settings=PLAY)


def claim(test: Callable[..., None], **strategies: st.SearchStrategy[object]) -> Check:
    """Return a run of a test of `test_framings`, with as many examples as are needed here."""

    @PLAY
    @hypothesis.given(**strategies)
    def play(**drawn):
        test.hypothesis.inner_test(**drawn)

    return play


def of_framing(name: str) -> dict[str, st.SearchStrategy[object]]:
    return {"framing": st.just(framed.FRAMINGS[name]), "cuts": framed.CUTS, "way": framed.WAYS}


TYPES = st.sampled_from(framed.ITEM_TYPES)


def round_trips(name: str) -> Check:
    return claim(
        framed.test_payloads_come_out_as_they_went_in,
        payloads=framed.PAYLOADS,
        item_type=TYPES,
        **of_framing(name),
    )


def skips(name: str) -> Check:
    return claim(
        framed.test_a_frame_over_the_limit_is_skipped_and_the_next_one_comes,
        nbytes=st.integers(4, 250),
        **of_framing(name),
    )


def ends(name: str) -> Check:
    return claim(
        framed.test_a_stream_that_ends_in_a_frame_says_so_and_keeps_what_came,
        payloads=framed.PAYLOADS,
        missing=st.integers(1, 500),
        **of_framing(name),
    )


def limit(name: str, cuts: str = "whole", way: str = "events") -> Check:
    return partial(framed.test_a_limit_is_kept_to_the_byte, framed.FRAMINGS[name], cuts, way)


def refuses(name: str, cuts: str = "whole", way: str = "event") -> Check:
    return partial(
        framed.test_what_is_no_frame_is_refused_in_its_turn, *framed.BAD[name], cuts, way
    )


def drips(name: str, waiting_nbytes: int = 0) -> Check:
    framing, end = buffered.LINE_FRAMINGS[name]
    return partial(
        buffered.test_a_line_that_drips_is_searched_once, framing, end, waiting_nbytes, bytes
    )


def borders() -> None:
    """Look for each family of delimiters in three pieces."""
    for delimiters in FAMILIES:
        buffered.test_a_delimiter_is_found_across_any_two_borders(delimiters)


universal = claim(
    framed.test_universal_lines_are_those_of_text_files,
    data=st.lists(st.sampled_from((b"a", b"\r", b"\n", b"\r\n")), max_size=20),
    cuts=framed.CUTS,
    way=framed.WAYS,
    item_type=TYPES,
)
delimited = claim(
    framed.test_delimited_frames_are_what_the_model_says,
    delimiters=DELIMITERS,
    wire=framed.HOSTILE,
    cuts=framed.CUTS,
    way=framed.WAYS,
    is_lines=st.booleans(),
)

BUFFER_BUGS: dict[str, tuple[object, str, str, str, Check]] = {
    "the memory of a search outlives a take": (
        ReceiveBuffer,
        "_move_to",
        "self._searched_for = self._stuck_for = None",
        "pass",
        partial(buffered.test_the_memory_of_a_search_ends_when_bytes_are_taken, "discard"),
    ),
    "the memory of a search outlives a take from the window": (
        ReceiveBuffer,
        "try_take",
        "self._searched_for = self._stuck_for = None",
        "pass",
        partial(buffered.test_the_memory_of_a_search_ends_when_bytes_are_taken, "take"),
    ),
    "the memory of a search outlives an unread": (
        ReceiveBuffer,
        "unread",
        "self._text = self._searched_for = self._stuck_for = None",
        "self._text = None",
        buffered.test_the_memory_of_a_search_ends_when_bytes_are_unread,
    ),
    "the copy of a window outlives it": (
        ReceiveBuffer,
        "_turn",
        "self._text = self._searched_for",
        "self._searched_for",
        the_machine,
    ),
    "the tail is not counted": (
        ReceiveBuffer,
        "feed",
        "self._rest_nbytes = total\n        return",
        "return",
        the_machine,
    ),
    "the tail comes behind what came after it": (
        ReceiveBuffer,
        "feed",
        "self._seal()\n    fed",
        "fed",
        the_machine,
    ),
    "the tail grows without an end": (
        ReceiveBuffer,
        "feed",
        "if len(self._tail) + nbytes >= TAIL_NBYTES:",
        "if False:",
        the_machine,
    ),
    "several pieces are put back in the wrong order": (
        ReceiveBuffer,
        "unread",
        "put[:0:-1]",
        "put[1:]",
        the_machine,
    ),
    "what was taken of the window is put back too": (
        ReceiveBuffer,
        "unread",
        "self._window[self._at :]",
        "self._window",
        the_machine,
    ),
    "the window is not counted when it is put back": (
        ReceiveBuffer,
        "unread",
        "len(self) + view._nbytes - stop",
        "self._rest_nbytes + view._nbytes - stop",
        the_machine,
    ),
    "settle loses its place": (
        ReceiveBuffer,
        "settle",
        "self._at, self._stop = 0, left",
        "self._stop = self._window.nbytes",
        the_machine,
    ),
    "settle keeps what was taken": (
        ReceiveBuffer,
        "settle",
        "self._window[self._at :].tobytes()",
        "self._window.tobytes()",
        the_machine,
    ),
    "settle keeps the mark of the block it let go of": (
        ReceiveBuffer,
        "settle",
        "tobytes()), None",
        "tobytes()), self._ref",
        partial(buffered.test_foreign_memory_is_marked_as_such_on_its_way_through, 5000),
    ),
    "settle lets go of no block": (
        ReceiveBuffer,
        "settle",
        "if left * PINNED_TIMES <",
        "if left * 1000 <",
        the_machine,
    ),
    "settle keeps the copy of the window": (
        ReceiveBuffer,
        "settle",
        "self._text = None",
        "pass",
        the_machine,
    ),
    "what is fed is taken as it is, though it may change": (
        _receive_buffer,
        "_fixed",
        "BytesView.copied_from_slice(data)",
        "BytesView(data)",
        the_machine,
    ),
    "peek leaves the tail out": (
        ReceiveBuffer,
        "peek",
        "bytes(self._tail[:missing])",
        "bytes(missing)",
        the_machine,
    ),
    "peek shows what was taken": (
        ReceiveBuffer,
        "peek",
        "self._window[self._at :]",
        "self._window",
        the_machine,
    ),
    "a copy of the front goes beyond the window": (
        ReceiveBuffer,
        "peek_bytes",
        "if at + nbytes <= self._stop:",
        "if True:",
        the_machine,
    ),
    "discard steps over the next piece": (
        ReceiveBuffer,
        "discard",
        "self._move_to(self._at + missing)",
        "self._move_to(self._stop)",
        the_machine,
    ),
    "a delimiter across a border is missed by the window": (
        ReceiveBuffer,
        "find",
        "start = max(start, stop - before)",
        "start = stop",
        borders,
    ),
    "a delimiter across two searches is missed": (
        ReceiveBuffer,
        "find",
        "max(0, searched - before)",
        "searched",
        the_machine,
    ),
    "a delimiter across two windows of a search is missed": (
        _receive_buffer,
        "_first_end_in",
        'tail = text[-before:] if before else b""',
        'tail = b""',
        the_machine,
    ),
    "a search goes one byte too far": (
        ReceiveBuffer,
        "find",
        "min(nbytes, max_nbytes)",
        "min(nbytes, max_nbytes + 1)",
        borders,
    ),
    "the memory of a search is of any delimiter": (
        ReceiveBuffer,
        "find",
        "if self._searched_for == delimiters else 0",
        "if self._searched_for else 0",
        the_machine,
    ),
    "a search counts as done beyond its limit": (
        ReceiveBuffer,
        "find",
        "= delimiters, limit",
        "= delimiters, nbytes",
        borders,
    ),
    "what waits in the tail is searched from its front": (
        ReceiveBuffer,
        "_run",
        "max(0, start - begin) : stop - begin]))",
        ": stop - begin]))",
        the_machine,
    ),
    "the pieces of a search are in the wrong order": (
        ReceiveBuffer,
        "_run",
        "run.reverse()",
        "pass",
        the_machine,
    ),
    "a search that walks on forgets the tail": (
        ReceiveBuffer,
        "_run_on",
        "yield memoryview(bytes(self._tail[:missing]))",
        "pass",
        the_machine,
    ),
    "the first start counts, and not the first end": (
        _receive_buffer,
        "first_end",
        "(at + nbytes < best or nbytes > found)",
        "(not found or at < best - found)",
        borders,
    ),
    "of two ends at one place, the last one given counts": (
        _receive_buffer,
        "first_end",
        "or nbytes > found)",
        "or True)",
        the_machine,
    ),
    "a step of a search misses what lies across its beginning": (
        _receive_buffer,
        "first_end",
        "max(start, begin - nbytes + 1)",
        "begin",
        the_machine,
    ),
    "a window that was searched in vain is copied again": (
        FrameCutter,
        "_look_further",
        "self._buffer._stuck_for = self._framing",
        "pass",
        drips("CRLF", 200 * 1024),
    ),
    "what was searched in vain is searched again": (
        ReceiveBuffer,
        "find",
        "self._searched_for, self._searched_nbytes = delimiters, limit",
        "pass",
        drips("LF"),
    ),
    "what is there is walked over for each frame": (
        ReceiveBuffer,
        "peek",
        "chain(((self._window[self._at :], self._ref),), self._rest)",
        "[(self._window[self._at :], self._ref), *self._rest]",
        partial(
            buffered.test_frames_over_many_pieces_walk_over_each_piece_once,
            LengthPrefixed(2),
            "event",
        ),
    ),
    "a search walks over all that is there": (
        ReceiveBuffer,
        "_run",
        "if start <= self._stop - self._at:",
        "if False:",
        partial(
            buffered.test_frames_over_many_pieces_walk_over_each_piece_once,
            Delimited(b"\r\n"),
            "event",
        ),
    ),
    "a delimiter that never comes is looked for to the end": (
        _receive_buffer,
        "first_end",
        "FIRST_SEARCH_NBYTES",
        "stop",
        partial(
            buffered.test_many_lines_at_once_are_searched_once,
            *buffered.LINE_FRAMINGS["one that never comes"],
            "event",
        ),
    ),
}

FRAMING_BUGS: dict[str, tuple[object, str, str, str, Check]] = {
    "a limit of a delimited frame is one too low": (
        Delimited,
        "measure",
        "max_nbytes + len(self._sought[0])",
        "max_nbytes + len(self._sought[0]) - 1",
        limit("CRLF", "every byte"),
    ),
    "a limit of a delimited frame is one too high when it is cut": (
        _framings,
        "_cut_lines",
        "max(map(len, lines)) > max_nbytes",
        "max(map(len, lines)) > max_nbytes + 1",
        limit("CRLF"),
    ),
    "a limit is not kept where there are several delimiters": (
        Delimited,
        "_cut",
        "or end - found - at > max_nbytes",
        "",
        limit("one the end of the other"),
    ),
    "a delimiter that overlaps itself is cut from its end": (
        _framings,
        "_cut_lines",
        "some.split(delimiter, max_items)",
        "some.rsplit(delimiter, max_items)",
        partial(
            framed.test_the_shortcut_and_the_cuts_change_no_outcome.hypothesis.inner_test,
            framed.FRAMINGS["a delimiter that overlaps itself"],
            b"x\n\n\ny\n\n\n",
            "whole",
            "events",
            bytes,
        ),
    ),
    "a line of more than a cut is lost": (
        _framings,
        "_cut_lines",
        "end = last + len(delimiter)",
        "end = last",
        framed.test_lines_over_several_windows_of_cutting,
    ),
    "a delimiter across the end of a payload is not refused": (
        Delimited,
        "wrap",
        "(len(whole), len(end))",
        "(len(whole), len(self._sought[0]))",
        partial(
            framed.test_delimited_refuses_exactly_what_would_arrive_otherwise.hypothesis.inner_test,
            (b"\n", b"\r\n"),
            b"a\r",
        ),
    ),
    "half a delimiter is dropped when a frame is skipped": (
        Delimited,
        "droppable_nbytes",
        "- len(self._sought[0]) + 1",
        "",
        skips("CRLF"),
    ),
    "universal lines count one byte too few": (
        UniversalLines,
        "measure",
        "buffer.find(CR_OR_LF, max_nbytes + 1)",
        "buffer.find(CR_OR_LF, max_nbytes)",
        limit("universal lines", "every byte"),
    ),
    "a CR does not wait for its LF": (
        UniversalLines,
        "measure",
        'if seen == b"\\r":',
        "if False:",
        universal,
    ),
    "a CRLF is two ends": (
        UniversalLines,
        "_cut",
        "after = end + (text[end] == LF)",
        "after = end",
        universal,
    ),
    "the CR at the end of a stream is of the last line": (
        UniversalLines,
        "measure_last",
        "Extent(0, nbytes - is_ended, int(is_ended))",
        "Extent(0, nbytes)",
        universal,
    ),
    "a CR is dropped when a line is skipped": (
        UniversalLines,
        "droppable_nbytes",
        "max(0, len(buffer) - 1)",
        "len(buffer)",
        decoder.test_a_cr_that_ends_a_skipped_line_waits_for_its_lf,
    ),
    "a fixed frame is cut over its limit": (
        FixedLength,
        "_cut",
        "if nbytes > max_nbytes:",
        "if False:",
        limit("fixed"),
    ),
    "what has come of a frame is cut as if it were all of it": (
        LengthPrefixed,
        "_cut",
        "if at > stop:",
        "if False:",
        round_trips("2 bytes, little"),
    ),
    "a length over its limit is cut": (
        LengthPrefixed,
        "_cut",
        "or nbytes > max_nbytes",
        "",
        limit("1 byte"),
    ),
    "one length over its limit is cut": (
        LengthPrefixed,
        "_cut_one",
        "or nbytes > max_nbytes",
        "",
        limit("1 byte", way="event"),
    ),
    "a length shorter than itself is cut": (
        LengthPrefixed,
        "_cut",
        "or nbytes < 0",
        "",
        refuses("a length shorter than itself", way="events"),
    ),
    "a length that makes no sense is believed": (
        FrameCutter,
        "_checked",
        "if min(extent) < 0 or not any(extent):",
        "if False:",
        partial(decoder.test_a_wrong_framing_loses_no_frames, b"0", BadFrame, "measures as"),
    ),
    "a length is cut in the wrong order of bytes": (
        LengthPrefixed,
        "measure",
        "int.from_bytes(prefix, self.byteorder)",
        'int.from_bytes(prefix, "big")',
        round_trips("2 bytes, little"),
    ),
    "a varint that is too long is believed": (
        VarintPrefixed,
        "measure",
        "if index and not byte:",
        "if False:",
        refuses("a varint of two groups, one enough"),
    ),
    "a varint that is too long is cut": (
        VarintPrefixed,
        "_cut",
        "0 < window[start] < 0x80",
        "0 <= window[start] < 0x80",
        refuses("a varint of two groups, one enough"),
    ),
    "a varint of 65 bits is believed": (
        VarintPrefixed,
        "measure",
        "if value >> 64:",
        "if value >> 65:",
        refuses("a varint of 65 bits"),
    ),
    "a varint is written in the wrong groups": (
        VarintPrefixed,
        "wrap",
        "while rest > 0x7F:",
        "while rest > 0x80:",
        partial(framed.test_varints_of_every_number_of_groups, 128),
    ),
    "a leading zero is believed": (
        Netstring,
        "measure",
        'digits.startswith(b"0")',
        "False",
        refuses("a leading zero"),
    ),
    "a netstring without its comma is believed": (
        Netstring,
        "measure",
        "if comma != COMMA:",
        "if False:",
        refuses("no comma"),
    ),
    "digits without an end are waited for": (
        Netstring,
        "measure",
        "if len(digits) > MAX_NETSTRING_DIGITS:",
        "if False:",
        refuses("20 digits"),
    ),
    "a frame over its limit is waited for": (
        FrameCutter,
        "_look_at",
        "if nbytes > self._max_nbytes:",
        "if nbytes > self._max_nbytes + 1:",
        limit("3 bytes", "every byte"),
    ),
    "what comes before an error is lost": (
        FrameCutter,
        "take_batch",
        "if items:\n                break",
        "if False:\n                break",
        refuses("no digits", way="events"),
    ),
    "the length of a frame that is skipped is forgotten": (
        FrameCutter,
        "skip",
        "self._drop_nbytes -= step",
        "self._drop_nbytes = 0",
        skips("2 bytes, little"),
    ),
    "a frame that was cut off is dropped": (
        FrameCutter,
        "take_last",
        "raise UnexpectedEof(wanted=wanted",
        "buffer.clear()\n    raise UnexpectedEof(wanted=wanted",
        ends("netstring"),
    ),
    "the last line is lost": (
        FrameCutter,
        "take_last",
        "self.pass_by()\n    return item",
        "buffer.clear()\n    return None",
        delimited,
    ),
}

BUGS = BUFFER_BUGS | FRAMING_BUGS


def mutant(function: FunctionType, old: str, new: str) -> FunctionType:
    """Return `function` with `new` in its source instead of `old`, which is there once."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has no line with {old!r} any more"
    made: dict[str, FunctionType] = {}
    header = "from __future__ import annotations\n"
    exec(compile(header + source.replace(old, new), "<mutant>", "exec"), function.__globals__, made)
    return made[function.__name__]


def plant(patch: pytest.MonkeyPatch, owner: object, name: str, old: str, new: str) -> None:
    """Put a mutant in the place of what it was made of, wherever that was imported."""
    function = getattr(owner, name)
    changed = mutant(function, old, new)
    patch.setattr(owner, name, changed)
    if isinstance(owner, ModuleType) and getattr(_framings, name, None) is function:
        patch.setattr(_framings, name, changed)


@pytest.mark.parametrize(("owner", "name", "old", "new", "check"), BUGS.values(), ids=BUGS.keys())
def test_every_planted_bug_is_seen(owner, name, old, new, check, monkeypatch) -> None:
    """With the bug, a claim fails, an error does not come, or one comes that should not."""
    plant(monkeypatch, owner, name, old, new)
    with pytest.raises(SYMPTOMS):
        check()


CHECKS = {id(bug[-1]): (name, bug[-1]) for name, bug in BUGS.items()}


@pytest.mark.parametrize(
    "check", [check for _, check in CHECKS.values()], ids=[name for name, _ in CHECKS.values()]
)
def test_nothing_is_seen_where_nothing_is_planted(check) -> None:
    """The same checks, as they are played here, pass on the library as it is."""
    check()
