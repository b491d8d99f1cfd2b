"""`relay LISTEN TARGET`: every connection to the one address is passed on to the other.

Law 1. What goes wrong with one connection (its target cannot be reached, it breaks, we are out of
       file descriptors) is one line of output and the end of that connection, never of another's.
Law 2. When one connection of a pair has died, the other is given what had arrived for it, and is
       then reset (`_closing` says why and how). While it takes none of that, the death waits
       behind it.
Law 3. Whatever ends the relay, the listeners are closed, and the file of a Unix socket is gone.

`Relay` accepts by itself because `trio.serve_listeners` logs a traceback for each try that found no
room, ten in a second; that is not the one line of Law 1.
"""

from __future__ import annotations

import errno
import signal
from typing import TYPE_CHECKING, Final

import attrs
import trio

from ..io import relay
from ._address import address_of, peer_of
from ._closing import closing
from ._figures import Figures
from ._screen import Event
from ._words import text_of_error, text_of_nbytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from ..io import SocketListener, SocketStream
    from ._address import Address
    from ._screen import Screen

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

AT_CAPACITY: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
"""What the system says when it has no room for one more connection now."""

ACCEPT_AGAIN_SECONDS: Final = 0.1
"""How long to wait before accepting again when there was no room; trio waits as long."""


class ConnectionFailed(Exception):
    """One connection could not be relayed to its end; the text says why."""


@attrs.define(eq=False)
class Relay:
    """A relay to one target. Make it inside trio."""

    target: Address
    screen: Screen
    figures: Figures = attrs.field(init=False, factory=Figures)

    async def serve(self, listeners: Sequence[SocketListener]) -> None:
        """Relay what comes to `listeners`, until cancelled; closes them.

        Cancellation: stops listening and resets the connections.
        """
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept_from, listener, nursery)

    async def _accept_from(self, listener: SocketListener, nursery: trio.Nursery) -> None:
        has_room = True
        async with listener:
            while True:
                try:
                    client = await listener.accept()
                except OSError as exc:
                    if exc.errno not in AT_CAPACITY:
                        raise
                    if has_room:
                        reason = text_of_error(exc)
                        text = f"no room for more connections: {reason}"
                        self.screen.line(Event(text, "no_room", {"reason": reason}))
                    has_room = False
                    await trio.sleep(ACCEPT_AGAIN_SECONDS)
                else:
                    has_room = True
                    nursery.start_soon(self.handle, client)

    async def handle(self, client: SocketStream) -> None:
        """Relay one connection to its end, count it, and close it.

        Cancellation: resets the connection.
        """
        with self.figures.connection() as number:
            peer = peer_of(client)
            try:
                async with closing(client):
                    await self._relay_to_target(client)
            except Exception as exc:  # noqa: BLE001  # Law 1 holds for our own mistakes too
                self.figures.connections_failed += 1
                name = f"connection {number} from {peer}" if peer else f"connection {number}"
                reason = str(exc) if isinstance(exc, ConnectionFailed) else repr(exc)
                facts = {"connection": number, "peer": peer and str(peer), "reason": reason}
                self.screen.line(Event(f"{name} {reason}", "connection_failed", facts))

    async def _relay_to_target(self, client: SocketStream) -> None:
        try:
            server = await self.target.connect()
        except OSError as exc:
            raise ConnectionFailed(f"cannot reach {self.target}: {text_of_error(exc)}") from exc
        figures = self.figures
        with figures.to_target.counting(server), figures.to_client.counting(client):
            try:
                async with closing(server):
                    await relay(client, server)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
                raise ConnectionFailed(_how_it_broke(client, server, exc)) from exc


def _how_it_broke(client: SocketStream, server: SocketStream, exc: Exception) -> str:
    to_target = text_of_nbytes(server.statistics().sent_nbytes)
    to_client = text_of_nbytes(client.statistics().sent_nbytes)
    return f"broke after {to_target} out, {to_client} back: {text_of_error(exc)}"


async def run_relay(listen: Address, target: Address, screen: Screen) -> None:
    """Relay from `listen` to `target` until SIGINT or SIGTERM; say where first, what last.

    Raises:
      ExceptionGroup: of OSError; nobody can listen there.

    Cancellation: as `Relay.serve`.
    """
    bridge = Relay(target, screen)
    with trio.open_signal_receiver(*STOP_SIGNALS) as signals, screen:
        async with trio.open_nursery() as watch:
            served = trio.CancelScope()
            watch.start_soon(cancel_at_each, signals, served)
            with served:
                async with trio.open_nursery() as nursery:
                    listeners = await listen.listen()
                    nursery.start_soon(bridge.serve, listeners)  # Law 3 holds from here on
                    listen_on = [str(address_of(listener)) for listener in listeners]
                    places = ", ".join(listen_on)
                    # The listeners are open: whoever reads the line may connect.
                    facts = {"listen": listen_on, "target": str(target)}
                    screen.line(Event(f"relaying {places} -> {target}", "listening", facts))
                    await _show_for_ever(bridge.figures, screen, f"{places} -> {target}")
            screen.clear()
            screen.line(Event(bridge.figures.totals(), "stopped", bridge.figures.facts()))
            watch.cancel_scope.cancel()


async def cancel_at_each(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    """Cancel `scope` when a signal comes. More of them do nothing more."""
    async for _ in signals:
        scope.cancel()


async def _show_for_ever(figures: Figures, screen: Screen, title: str) -> None:
    if screen.shows_at_once:
        screen.show(figures.panel(title))
    while True:
        await trio.sleep(screen.interval)
        figures.sample()
        screen.show(figures.panel(title))
