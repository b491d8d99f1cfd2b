"""What makes a `Read` or a `Write` an honest trio stream as well: trio's own methods, once for all.

Law 1. A side is claimed by trio's methods as by ours, so a task that calls one while another task
       is in the other gets `trio.BusyResourceError`.
Law 2. `receive_some` begins with what an abandoned read has kept, as every read does.
Law 3. A buffer that `send_all` was given is let go of when it returns or raises: the caller may
       resize it.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import checkpoint

from ..seq import BytesView
from ..seq._flat import flat, positive_count_of
from ._read import Read
from ._write import Write

if TYPE_CHECKING:
    from ..seq._flat import Buffer


class ReceivesSome(Read, trio.abc.ReceiveStream):
    """A `Read` that is a `trio.abc.ReceiveStream`."""

    @abc.abstractmethod
    async def _receive_some(self, max_bytes: int | None) -> bytes:
        """Do for `receive_some` what `_receive_view` does for `receive_view`."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait until there are bytes and return them as `bytes`; trio's own method.

        Raises:
          As `receive_view`.

        Cancellation: as `receive_view`.
        """
        limit = None if max_bytes is None else positive_count_of(max_bytes, "max_bytes")
        if self._is_receiving or self._is_closed:
            await self._refuse_receiving()
        self._is_receiving = True
        try:
            if self._kept:
                await checkpoint()
                return bytes(self._take_kept(limit))
            return await self._receive_some(limit)
        finally:
            self._is_receiving = False


class SendsAll(Write, trio.abc.SendStream):
    """A `Write` that is a `trio.abc.SendStream`."""

    @abc.abstractmethod
    async def _send_all(self, data: memoryview) -> None:
        """Send all bytes of `data`, which may be none, and keep no reference to it."""

    async def send_all(self, data: Buffer) -> None:
        """Send all of `data`; trio's own method. As `write_view` otherwise; takes views, too."""
        if isinstance(data, BytesView):
            await self.write_view(data)
            return
        with flat(data) as source:
            if self._is_sending or self._is_closed:
                await self._refuse_sending()
            self._is_sending = True
            try:
                await self._send_all(source)
            finally:
                self._is_sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until sending might not block; trio's name of `wait_write_might_not_block`."""
        await self.wait_write_might_not_block()


class SendsEof(Write):
    """A `Write` that can say that it has no more to send, as trio's half-closeable streams do."""

    @abc.abstractmethod
    async def _send_eof(self) -> None:
        """Tell the peer that nothing more will be sent."""

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will be sent; receiving goes on. Twice is harmless.

        Raises:
          As `write_view`.

        Cancellation: atomic.
        """
        if self._is_sending or self._is_closed:
            await self._refuse_sending()
        self._is_sending = True
        try:
            await self._send_eof()
        finally:
            self._is_sending = False
