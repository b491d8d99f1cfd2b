"""Publish the process's pool: a sink that does not care where its bytes lie.

    python examples/bb_has_memory_global.py

`Checksum` reads bytes and passes them to nobody. It says so by publishing the memory that it was
given, which is the process's pool unless somebody knows better.
"""

import trio

from trio_bytesbuf import BytesView, Write, default_memory
from trio_bytesbuf.mem import HasMemory, Memory

MESSAGES = (b"Hello, world!", b"Goodbye, world!", b"Goodbye, universe!")


class Checksum(Write):
    """A sink that adds up the bytes that are written to it."""

    def __init__(self, memory: Memory) -> None:
        self.total = 0
        self._memory = memory

    @property
    def memory(self) -> Memory:
        """What it was given: it has no preference."""
        return self._memory

    async def _write_view(self, view: BytesView) -> None:
        await trio.lowlevel.checkpoint()
        self.total += sum(view)

    async def _aclose(self) -> None:
        await trio.lowlevel.checkpoint()  # there is nothing to close


async def main() -> None:
    """Write three messages, in the memory that the sink publishes."""
    async with Checksum(default_memory()) as checksum:
        assert isinstance(checksum, HasMemory)
        memory = checksum.memory
        for message in MESSAGES:
            await checksum.write_view(BytesView.copied_from_slice(message, memory))
        print(f"checksum: {checksum.total}")


if __name__ == "__main__":
    trio.run(main)
