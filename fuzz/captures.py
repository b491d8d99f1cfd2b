"""Files of captures: what is loaded is saved as it was, what is damaged is said."""

from __future__ import annotations

import zlib

from _program import Program, in_pieces, within

from trio_bytesbuf.io import BadCapture, Capture
from trio_bytesbuf.io._capture_file import PREAMBLE
from trio_bytesbuf.testing import check_laws

PER_BYTE = 250
"""The shortest record with bytes has four, and the event that becomes of it some 400."""


def capture(data: bytes) -> None:
    """A file; or records, around which the preamble and the checksum are put."""
    program = Program(data)
    flags, sizes = program.byte(), program.take(2)
    file = program.rest()
    if flags & 1:
        file = PREAMBLE + file
    if flags & 2:
        file += b"\7"
        file += zlib.crc32(file[:-1]).to_bytes(4, "little")
    try:
        loaded = within(len(file), PER_BYTE, lambda: Capture.from_bytes(file), data)
    except BadCapture as error:
        assert 0 <= error.offset <= len(file)
        _refused(in_pieces(file, sizes), error)
        _refused(in_pieces(file, b"\1"), error)
        return
    for view in (in_pieces(file, sizes), in_pieces(file, b"\1")):
        assert Capture.from_bytes(view) == loaded
    for event in loaded.events:
        check_laws(event.view)
    saved = loaded.to_bytes()
    assert Capture.from_bytes(saved) == loaded
    if not loaded.incomplete:
        assert len(saved) <= len(file), "longer than what it was loaded from"
    at = flags * len(saved) // 256
    cut = Capture.from_bytes(saved[:at]) if at >= len(PREAMBLE) else None
    if cut is not None:
        assert cut.incomplete, "a file that was cut short and is not known to be"
        assert cut.events == loaded.events[: len(cut.events)]


def _refused(view: object, error: BadCapture) -> None:
    try:
        Capture.from_bytes(view)  # type: ignore[arg-type]  # a view
    except BadCapture as other:
        assert (other.complaint, other.offset) == (error.complaint, error.offset)
    else:
        raise AssertionError(f"not refused in pieces: {error}")
