"""Addresses as they are typed: `HOST:PORT`, `:PORT`, `[::1]:PORT`, `unix:/path`."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final

import attrs

from ..io import open_tcp_listeners, open_tcp_stream, open_unix_listener, open_unix_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..io import SocketListener, SocketStream

FORMS: Final = "HOST:PORT, :PORT, [IPv6]:PORT or unix:/path"
MAX_PORT: Final = 65_535


class Address(abc.ABC):
    """Where to listen, or what to connect to. Its `str` is what can be typed again."""

    __slots__ = ()

    @abc.abstractmethod
    async def listen(self) -> Sequence[SocketListener]:
        """Listen here: one listener or, for a name with several addresses, more.

        Raises:
          OSError: the address is in use, or not ours.

        Cancellation: atomic.
        """

    @abc.abstractmethod
    async def connect(self) -> SocketStream:
        """Connect to whoever listens here.

        Raises:
          OSError: no connection could be made.

        Cancellation: atomic.
        """

    def check_target(self) -> None:  # noqa: B027  # most can be reached
        """Raise ValueError if nothing can be reached here."""


@attrs.frozen
class TcpAddress(Address):
    """A host and a port. No host: every interface to listen on, this machine to connect to."""

    host: str
    port: int

    async def listen(self) -> Sequence[SocketListener]:
        """As `Address.listen`. Port 0: the system chooses one."""
        return await open_tcp_listeners(self.port, host=self.host or None)

    async def connect(self) -> SocketStream:
        """As `Address.connect`."""
        return await open_tcp_stream(self.host or "localhost", self.port)

    def check_target(self) -> None:
        """Port 0 is a wish, which only a listener can have."""
        if not self.port:
            raise ValueError(f"{str(self)!r} is no target: its port must be from 1 to {MAX_PORT}")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class UnixAddress(Address):
    """The path of a Unix socket."""

    path: str

    async def listen(self) -> Sequence[SocketListener]:
        """As `Address.listen`."""
        return [await open_unix_listener(self.path)]

    async def connect(self) -> SocketStream:
        """As `Address.connect`."""
        return await open_unix_socket(self.path)

    def __str__(self) -> str:
        return f"unix:{self.path}"


def parse_address(text: str) -> Address:
    """Return the address that `text` spells.

    Raises:
      ValueError: it spells none; the message has the value and the forms.
    """
    scheme, _, path = text.partition(":")
    if scheme == "unix":
        if not path or "\0" in path:
            raise _no_address(text, "a path follows unix:")
        return UnixAddress(path)
    host, colon, port = text.rpartition(":")
    if not colon:
        raise _no_address(text, "the port is missing")
    if not (port.isascii() and port.isdecimal() and int(port) <= MAX_PORT):
        raise _no_address(text, f"a port is a number from 0 to {MAX_PORT}")
    return TcpAddress(_host_of(host, text), int(port))


def _host_of(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise _no_address(text, "brackets are for IPv6 addresses")
    elif ":" in host or "[" in host or "]" in host:
        raise _no_address(text, "an IPv6 address stands in brackets")
    try:
        host.encode("idna")
    except UnicodeError:
        raise _no_address(text, "that is no name of a host") from None
    if any(character.isspace() for character in host):
        raise _no_address(text, "that is no name of a host")
    return host


def _no_address(text: str, why: str) -> ValueError:
    return ValueError(f"{text!r} is no address: {why} ({FORMS})")


def address_of(listener: SocketListener) -> Address:
    """Return where `listener` really listens, with the port that the system chose."""
    return _address_from(listener.socket.getsockname())


def peer_of(stream: SocketStream) -> Address | None:
    """Return where the other end of `stream` is; None if it has no address, or is gone already."""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return None
    return _address_from(name) if name else None


def _address_from(name: object) -> Address:
    """Turn what the socket calls return into an address."""
    if isinstance(name, tuple):
        host, port = name[:2]
        return TcpAddress(host, port)
    return UnixAddress(name if isinstance(name, str) else repr(name))
