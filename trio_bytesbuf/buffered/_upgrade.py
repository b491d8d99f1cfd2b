"""`upgrade_to_tls`: a conversation in plain text goes on in TLS; and how other layers take over.

A layer that takes over from a `BufStream` gets the bytes that have arrived and are not read, or it
is not told the truth about what the peer has sent. There are three ways:

* It takes the `BufStream` itself, a trio stream, whose reads begin with those bytes. So do
  WebSocket libraries, h11, `relay`. The reply that agrees to the change has to be flushed before: a
  peer that waits for it sends nothing, so nothing that is sent back would carry it along.
* It takes the stream below and the bytes: that is what `BufStream.into_inner` returns.
* It is TLS. Then there must be no such bytes, and `upgrade_to_tls` sees to it.

Law 1. What has arrived before TLS has begun is not protected by it. Anybody on the way can put it
       behind the request to begin, or behind its reply, and it must not count as said under TLS:
       as a command of the client whose password comes next, or as an answer of the server whose
       certificate is checked next. That was CVE-2011-0411 in Postfix, and it was found in other
       servers, and clients, for ten years. To drop these bytes would be safe as well. They are
       refused and kept, so that the program can say what happened; and because a peer that has
       sent them does not follow the protocol, and would wait for an answer.
Law 2. What the kernel holds, or the network, nobody here has seen. It goes to TLS and to nobody
       else, which takes it for a handshake: if it is none, the handshake fails.
Law 3. A stream is given up at one moment, when all was flushed, and TLS then certainly has it:
       what can be wrong with the arguments is found before. Until then it is as it was.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import trio

from .._errors import UnreadPlaintext
from ..io import TlsStream, to_trio
from ..io._tls import _without_ignored_cuts
from ._stream import BufStream

if TYPE_CHECKING:
    from ..io import ReadWrite


async def upgrade_to_tls(
    stream: BufStream[ReadWrite | trio.abc.Stream],
    ssl_context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | bytes | None = None,
    https_compatible: bool = False,
) -> TlsStream:
    """Flush, and go on in TLS over what `stream` stands on, unless plain text is still unread.

    For STARTTLS of SMTP, IMAP, POP3, LDAP, XMPP, and for HTTPS through a proxy. The
    client calls this when it has read the reply that agrees, the server when it has written that
    reply; it is sent by this.

    Does not shake hands, as `open_ssl_over_tcp_stream` does not: the first use of what is returned
    does. Call its `do_handshake` to know at once whether the peer is who it should be.

    Args:
      stream: given up by this, unless this raises. To close it is then without effect; closing
        the `TlsStream` closes the connection.
      ssl_context: with the server's certificate, or for a client with those it trusts. The option
        that lets it take a cut for an end, if it has it, is taken out of it.
      server_side: whether this is the server.
      server_hostname: for a client: whom the server's certificate has to name. Only a context that
        does not check it (`check_hostname`) can do without.
      https_compatible: whether the peer may leave out TLS's farewell; see `trio.SSLStream`.

    Returns:
      A stream without a buffer for lines and frames; `BufStream(tls)` has one. What was learned
      before, in plain text, anybody may have said: ask again.

    Raises:
      UnreadPlaintext: there are bytes in the buffer that the peer, or somebody on the way, has sent
        before TLS began. Nothing has happened: they are still to be read, and what was written
        is still to be sent. Close the stream. A server that wants to answer in another way looks
        at `buffered_nbytes` before it writes that it agrees.
      IntoInnerError: flushing failed; the cause says why. `stream` can still be used.
      trio.BusyResourceError: another task is reading, flushing or sending.
      trio.ClosedResourceError: `stream` was closed, or given up before.
      TypeError: `stream` is no `BufStream`, or `ssl_context` no `ssl.SSLContext`.
      ValueError: there is no `server_hostname` and the context checks it; or this is the server.
      ssl.SSLError: the context is for the other side.

    What has arrived but is not in the buffer goes to TLS. If it is no handshake, the first use of
    what is returned raises `trio.BrokenResourceError`.

    Cancellation: as `flush`; `stream` was not given up. Over a socket: resumable, call this again.

    Example:
      >>> import ssl
      >>> async def main():
      ...     stream = BufStream(await open_tcp_stream("mail.example.org", 587))
      ...     ...  # read the greeting, and what EHLO is answered with
      ...     await stream.send_all(b"STARTTLS\\r\\n")
      ...     if (await stream.read_line()).startswith(b"220"):
      ...         context = ssl.create_default_context()
      ...         tls = await upgrade_to_tls(stream, context, server_hostname="mail.example.org")
      ...         stream = BufStream(tls)
    """
    if not isinstance(stream, BufStream):
        raise TypeError(f"a BufStream is wanted, not {type(stream).__name__}")
    if not isinstance(ssl_context, ssl.SSLContext):
        raise TypeError(f"an ssl.SSLContext is wanted, not {type(ssl_context).__name__}")
    if server_side:
        if server_hostname is not None:
            raise ValueError("only a client has a server_hostname")
        if ssl_context.protocol is ssl.PROTOCOL_TLS_CLIENT:
            # As OpenSSL says. From CPython 3.14 on, `wrap_bio` complains of a missing name before.
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "a client's context cannot be a server's")
    elif ssl_context.check_hostname and not server_hostname:
        # Neither trio nor `SSLContext.wrap_bio` refuses this: any name would do.
        raise ValueError("this context checks whom it talks to: it takes a server_hostname")
    below: Any = stream._source  # of a trio socket stream, this is ours over it
    tls = TlsStream(
        trio.SSLStream(
            to_trio(below),
            _without_ignored_cuts(ssl_context),
            server_side=server_side,
            server_hostname=server_hostname,
            https_compatible=https_compatible,
        ),
        memory=below.memory,
    )
    nbytes = stream.buffered_nbytes
    if nbytes and not (stream._is_receiving or stream._is_closed):
        await trio.lowlevel.checkpoint()
        raise UnreadPlaintext(nbytes)
    await stream.into_inner()  # which claims both sides at once: nothing gets into the buffer
    return tls
