"""What has arrived and is not taken: a `ReceiveBuffer` against `bytes`."""

from __future__ import annotations

from _program import Program, in_pieces

from trio_bytesbuf import BytesView, NotEnoughBytes
from trio_bytesbuf.buffered import ReceiveBuffer
from trio_bytesbuf.testing import check_laws

MAX_STEPS = 200
MAX_NBYTES = 200_000

SOUGHT = ((b"\n",), (b"\r\n",), (b"aba",), (b"abab", b"b"), (b"\r\n", b"\n"), (b"xxxx\n", b"x\n"))


def waiting(data: bytes) -> None:
    """Fed in parts of every size, searched, put back and taken."""
    program = Program(data)
    buffer = ReceiveBuffer()
    model = b""
    kept: list[tuple[BytesView, bytes]] = []
    for _ in range(MAX_STEPS):
        if not program:
            break
        step = program.byte() % 12
        if step <= 3 and len(model) < MAX_NBYTES:
            data = program.take(program.byte() % 40)
            data *= (1, 1, 20, 100)[step]
            view = in_pieces(data, program.take(program.byte() % 3))
            if program.byte() % 4:
                buffer.feed(view)
                model += data
            else:
                buffer.unread(view)
                model = data + model
        elif step == 4:
            nbytes = program.index(len(model) + 2)
            found = buffer.try_take(nbytes)
            assert (found is None) == (nbytes > len(model))
            if found is not None:
                kept.append((found, model[:nbytes]))
                del kept[:-8]
                model = model[nbytes:]
        elif step == 5:
            nbytes = program.index(len(model) + 2)
            try:
                buffer.discard(nbytes)
                model = model[nbytes:]
            except NotEnoughBytes:
                assert nbytes > len(model)
        elif step == 6:
            nbytes = program.index(len(model) + 2)
            kept.append((buffer.peek(nbytes), model[:nbytes]))
            del kept[:-8]
        elif step in (7, 8):
            sought = program.pick(SOUGHT)
            limit = program.index(len(model) + 2) if program.byte() % 2 else None
            assert buffer.find(sought, limit) == _first_end(model[:limit], sought)
        elif step == 9:
            buffer.settle()
        elif step == 10:
            buffer.compact()
        else:
            buffer.text()
            buffer.merge()
        assert len(buffer) == len(model)
        check_laws(buffer)
    for view, shown in kept:
        check_laws(view)
        assert view.to_bytes() == shown
    assert buffer.take_all().to_bytes() == model


def _first_end(text: bytes, sought: tuple[bytes, ...]) -> tuple[int, int] | None:
    """Return where the first delimiter ends, and its length; of two that end there, the longer."""
    ends = [(text.find(one) + len(one), -len(one)) for one in sought if one in text]
    end, nbytes = min(ends, default=(0, 0))
    return (end, -nbytes) if ends else None
