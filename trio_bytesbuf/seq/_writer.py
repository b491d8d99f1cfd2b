"""`BytesBufWriter`: a builder as a binary file that programs write to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from ._buf import BytesBuf
from ._flat import flat

if TYPE_CHECKING:
    from ._flat import Buffer
    from ._source import BlockSource


class BytesBufWriter(io.BufferedIOBase):
    """Appends what is written to it to a builder, which grows as needed.

    Args:
      buf: the builder; a new one if not given.
      memory: where more room comes from; the process's default memory if not given.

    Example:
      >>> writer = BytesBufWriter()
      >>> print("42", file=io.TextIOWrapper(writer, write_through=True))
      >>> writer.into_inner().consume_all()
      BytesView(b'42\\n')
    """

    def __init__(self, buf: BytesBuf | None = None, memory: BlockSource | None = None) -> None:
        self._buf = BytesBuf() if buf is None else buf
        self._memory = memory

    def writable(self) -> bool:
        """Say that this file can be written."""
        return True

    def write(self, data: Buffer, /) -> int:
        """Append a copy of `data` and return its length in bytes.

        Raises:
          TypeError: `data` exports no buffer, or its memory has gaps.
          ValueError: the writer is closed.
          BadMemory: the memory gave less room than it was asked for.
        """
        if self.closed:
            raise ValueError("I/O operation on a closed writer")
        source = flat(data)
        self._buf.reserve(source.nbytes, self._memory)
        self._buf.put_slice(source)
        return source.nbytes

    def into_inner(self) -> BytesBuf:
        """Close the writer and return the builder with all that was written."""
        self.close()
        return self._buf
