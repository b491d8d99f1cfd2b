"""`BytesBufWriter`: a builder as a binary file that programs write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._buf_mut_combinators import Writer
from ._builder import BytesBuf
from ._view_queries import flat_of

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._source import BlockSource

FIRST_RESERVE_NBYTES: Final = 4096
"""How much an empty builder gets for its first small write: most of what is written is short, and
whoever only writes little should not hold much. bytesbuf's number."""

NEXT_RESERVE_NBYTES: Final = 65536
"""How much it gets when that was not enough: files are written in small steps, and a
block for each step would cost more than the bytes. bytesbuf's number, and one block of the pool."""


class BytesBufWriter(Writer):
    """Appends what is written to it to a builder, which grows as needed.

    Args:
      buf: the builder; a new one if not given.
      memory: where more room comes from; the process's default memory if not given.

    Example:
      >>> import io
      >>> writer = BytesBufWriter()
      >>> print("42", file=io.TextIOWrapper(writer, write_through=True))
      >>> writer.into_inner().consume_all()
      BytesView(b'42\\n')
    """

    __slots__ = ("_buf", "_memory")

    def __init__(self, buf: BytesBuf | None = None, memory: BlockSource | None = None) -> None:
        if not isinstance(buf, BytesBuf | None):
            raise TypeError(f"a BytesBuf is wanted to write to, not {type(buf).__name__}")
        self._buf = BytesBuf() if buf is None else buf
        self._memory = memory
        super().__init__(self._buf)

    def write(self, data: Buffer, /) -> int:
        """Append a copy of `data` and return its length in bytes.

        Raises:
          TypeError: `data` exports no buffer, or its memory has gaps.
          ValueError: the writer is closed.
          BadMemory: the memory gave less room than it was asked for.
        """
        self._refuse_if_closed()
        source = flat_of(data)
        missing = source.nbytes
        if missing > self._buf.remaining_capacity:
            fresh = not self._buf.capacity and missing <= FIRST_RESERVE_NBYTES
            least = FIRST_RESERVE_NBYTES if fresh else NEXT_RESERVE_NBYTES
            self._buf.reserve(max(missing, least), self._memory)
        return super().write(source)

    def into_inner(self) -> BytesBuf:
        """Close the writer and return the builder with all that was written."""
        self.close()
        return self._buf
