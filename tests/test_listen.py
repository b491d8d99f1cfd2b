"""Listening and connecting: errors name the address, socket files are looked after."""

from __future__ import annotations

import contextlib
import errno
import os
import socket as stdlib_socket
import warnings

import pytest
import trio
import trio.testing
from pairs import closing, receive_to_the_end, socketpair

from trio_bytesbuf import (
    BytesView,
    GlobalPool,
    SocketStream,
    default_memory,
    open_tcp_stream,
    open_unix_socket,
    serve_tcp,
    serve_unix,
)
from trio_bytesbuf.io import open_tcp_listeners, open_unix_listener
from trio_bytesbuf.testing import (
    FailureAttempt,
    FixedBlockMemory,
    SystemCalls,
    fail_at_each_call,
)

LOCAL = "127.0.0.1"


async def echo(stream: SocketStream) -> None:
    async with stream:
        async for view in stream.views():
            await stream.write_view(view)


async def ask(stream: SocketStream, question: bytes) -> bytes:
    async with stream:
        await stream.write_view(BytesView(question))
        await stream.send_eof()
        with trio.fail_after(5):
            return await receive_to_the_end(stream)


def port_of(listeners) -> int:
    return listeners[0].socket.getsockname()[1]


def free_port() -> int:
    """A port that nobody listens on: one that was given out a moment ago and closed again."""
    with stdlib_socket.socket() as socket:
        socket.bind((LOCAL, 0))
        return socket.getsockname()[1]


# TCP


async def test_a_tcp_server_and_its_client_use_our_streams():
    """What `serve_tcp` hands to the handler and `open_tcp_stream` returns is a SocketStream."""
    seen = []

    async def handler(stream: SocketStream) -> None:
        seen.append(type(stream))
        await echo(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: serve_tcp(handler, 0, host=LOCAL, task_status=task_status)
        )
        stream = await open_tcp_stream(LOCAL, port_of(listeners))
        assert type(stream) is SocketStream
        assert await ask(stream, b"hello") == b"hello"
        nursery.cancel_scope.cancel()
    assert seen == [SocketStream]


@pytest.mark.parametrize("host", [LOCAL, LOCAL.encode()], ids=["str", "bytes"])
async def test_a_tcp_address_in_use_is_named(host):
    """In the message, with the port and the host; errno says what is wrong."""
    (listener,) = await open_tcp_listeners(0, host=host)
    async with closing(listener):
        port = port_of([listener])
        with pytest.raises(OSError, match=f"{LOCAL}:{port}") as info:
            await open_tcp_listeners(port, host=host)
        assert info.value.errno == errno.EADDRINUSE


async def test_a_tcp_address_in_use_is_named_without_a_host():
    """All of this machine's addresses are written as a star."""
    with stdlib_socket.socket() as other:
        other.bind(("", 0))
        other.listen(1)
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"\*:{port}"):
            await open_tcp_listeners(port)


async def test_serve_tcp_says_that_the_address_is_in_use():
    """The error comes out of `nursery.start`, before any handler runs."""
    (listener,) = await open_tcp_listeners(0, host=LOCAL)
    async with closing(listener):
        with pytest.raises(OSError, match="cannot listen"):
            await serve_tcp(echo, port_of([listener]), host=LOCAL)


async def test_a_refused_tcp_connection_names_the_address():
    """Host and port are in the message."""
    port = free_port()
    with pytest.raises(OSError, match=f"{LOCAL}:{port}"):
        await open_tcp_stream(LOCAL, port)


async def test_open_tcp_stream_takes_the_options_of_trios():
    """They are handed through; a wrong one is refused by trio itself."""
    (listener,) = await open_tcp_listeners(0, host=LOCAL)
    async with closing(listener):
        port = port_of([listener])
        stream = await open_tcp_stream(LOCAL, port, happy_eyeballs_delay=1.0, local_address=LOCAL)
        assert stream.socket.getsockname()[0] == LOCAL
        await stream.aclose()
        with pytest.raises(TypeError):
            await open_tcp_stream(LOCAL, port, no_such_option=1)


@pytest.mark.parametrize("given", [True, False], ids=["a pool of its own", "none"])
async def test_the_memory_of_a_tcp_listener_is_that_of_its_streams(given):
    """And `open_tcp_stream` passes its own on; without one it is the process's."""
    pool = GlobalPool() if given else None
    expected = pool if given else default_memory()
    (listener,) = await open_tcp_listeners(0, host=LOCAL, memory=pool)
    client = await open_tcp_stream(LOCAL, port_of([listener]), memory=pool)
    server = await listener.accept()
    async with closing(listener, client, server):
        assert client._memory is expected
        assert server._memory is expected


async def test_serve_tcp_passes_its_memory_on():
    """A large receive in the handler leases from that pool."""
    pool = GlobalPool()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: serve_tcp(echo, 0, host=LOCAL, memory=pool, task_status=task_status)
        )
        stream = await open_tcp_stream(LOCAL, port_of(listeners))
        async with stream, trio.open_nursery() as inner:
            inner.start_soon(stream.send_all, bytes(1 << 20))
            left = 1 << 20
            while left:
                left -= len(await stream.receive_view())
        nursery.cancel_scope.cancel()
    assert pool.statistics().allocated > 0


async def test_cancelling_serve_tcp_cancels_the_handlers_and_closes_the_sockets():
    """Nothing is left: no handler, no listening socket."""
    ended = []

    async def handler(stream: SocketStream) -> None:
        try:
            await echo(stream)
        finally:
            ended.append(stream.socket.fileno())

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            lambda task_status: serve_tcp(handler, 0, host=LOCAL, task_status=task_status)
        )
        port = port_of(listeners)
        stream = await open_tcp_stream(LOCAL, port)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ended == [-1]
    assert [listener.socket.fileno() for listener in listeners] == [-1]
    assert not await stream.receive_some()
    await stream.aclose()
    with pytest.raises(OSError, match=str(port)):
        await open_tcp_stream(LOCAL, port)


async def test_handlers_run_in_the_nursery_that_is_given():
    """And outlive the server then."""
    async with trio.open_nursery() as handlers:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                lambda task_status: serve_tcp(
                    echo, 0, host=LOCAL, handler_nursery=handlers, task_status=task_status
                )
            )
            stream = await open_tcp_stream(LOCAL, port_of(listeners))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert await ask(stream, b"still there?") == b"still there?"


async def test_a_listener_is_a_trio_listener():
    """`trio.serve_listeners` takes it, and closing it twice is a checkpoint both times."""
    (listener,) = await open_tcp_listeners(0, host=LOCAL)
    assert isinstance(listener, trio.abc.Listener)
    for _ in range(2):
        with trio.testing.assert_checkpoints():
            await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()


async def test_closing_a_listener_wakes_the_task_that_accepts():
    """ClosedResourceError, not silence."""
    (listener,) = await open_tcp_listeners(0, host=LOCAL)
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        nursery.start_soon(accept)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()


# Unix


@pytest.mark.parametrize("kind", [os.fspath, lambda path: path], ids=["str", "Path"])
async def test_a_unix_server_and_its_client_use_our_streams(tmp_path, kind):
    """The path may be a string or a Path; memory is passed on."""
    path = kind(tmp_path / "socket")
    pool = GlobalPool()
    seen = []

    async def handler(stream: SocketStream) -> None:
        seen.append((type(stream), stream._memory))
        await echo(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_unix(handler, path, memory=pool, task_status=task_status)
        )
        stream = await open_unix_socket(path, memory=pool)
        assert type(stream) is SocketStream
        assert stream._memory is pool
        assert await ask(stream, b"hello") == b"hello"
        nursery.cancel_scope.cancel()
    assert seen == [(SocketStream, pool)]
    assert not (tmp_path / "socket").exists()


async def test_the_file_of_a_unix_listener_goes_when_it_is_closed(tmp_path):
    """Also when closing is cancelled, and once only."""
    path = tmp_path / "socket"
    listener = await open_unix_listener(path)
    assert path.is_socket()
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.aclose()
    assert not path.exists()
    assert listener.socket.fileno() == -1
    path.touch()
    await listener.aclose()
    assert path.exists()


async def test_the_file_stays_if_another_has_taken_its_place(tmp_path):
    """A second server that replaced the file keeps it when the first one is closed."""
    path = tmp_path / "socket"
    first = await open_unix_listener(path)
    path.unlink()
    second = await open_unix_listener(path)
    async with closing(first, second), trio.open_nursery() as nursery:
        await first.aclose()
        assert path.is_socket()
        nursery.start_soon(trio.serve_listeners, echo, [second])
        assert await ask(await open_unix_socket(path), b"second") == b"second"
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_the_right_file_goes_after_the_working_directory_changed(tmp_path, monkeypatch):
    """A relative path means what it meant when the listener was made."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    listener = await open_unix_listener("socket")
    assert (tmp_path / "socket").is_socket()
    monkeypatch.chdir(tmp_path / "elsewhere")
    await listener.aclose()
    assert not (tmp_path / "socket").exists()


async def test_a_unix_listener_is_closed_even_if_its_file_cannot_be_looked_at(tmp_path):
    """The directory is an ordinary file now: the socket is closed all the same."""
    folder = tmp_path / "folder"
    folder.mkdir()
    listener = await open_unix_listener(folder / "socket")
    (folder / "socket").unlink()
    folder.rmdir()
    folder.touch()
    with pytest.raises(NotADirectoryError):
        await listener.aclose()
    assert listener.socket.fileno() == -1


async def test_a_unix_listener_is_closed_though_its_file_is_gone_already(tmp_path):
    """Somebody tidied up; that is no error."""
    listener = await open_unix_listener(tmp_path / "socket")
    (tmp_path / "socket").unlink()
    await listener.aclose()
    assert listener.socket.fileno() == -1


def leave_a_socket_file_behind(path) -> None:
    """What is left of a server that died: the file without anybody who listens."""
    with stdlib_socket.socket(stdlib_socket.AF_UNIX) as socket:
        socket.bind(os.fspath(path))
        socket.listen(1)


async def test_a_socket_file_that_was_left_behind_is_replaced(tmp_path):
    """A server can be started again after it was killed."""
    path = tmp_path / "socket"
    leave_a_socket_file_behind(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_unix(echo, path, task_status=task_status))
        assert await ask(await open_unix_socket(path), b"again") == b"again"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_one_left_behind", [False, True], ids=["no file", "one left behind"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOMEM, errno.EACCES])
async def test_where_listening_fails_no_socket_file_is_left_that_was_made(
    tmp_path, is_one_left_behind, number
):
    """At whichever call: the error names the path, and what was made there is gone again."""
    path = tmp_path / "socket"

    def seen() -> tuple[int, int]:
        return path.lstat().st_ino, path.lstat().st_mtime_ns

    @contextlib.asynccontextmanager
    async def nothing():
        path.unlink(missing_ok=True)
        if is_one_left_behind:
            leave_a_socket_file_behind(path)
        yield seen() if is_one_left_behind else None

    async def check(before, attempt: FailureAttempt) -> None:
        if attempt.error is not None:
            assert isinstance(attempt.error, OSError)
            assert attempt.error.errno == number
            assert str(path) in str(attempt.error)
            assert not path.exists() or seen() == before
        async with attempt.result or await open_unix_listener(path):
            assert path.is_socket()
        assert not path.exists()

    calls = {"socket", "bind", "listen", "stat", "lstat"}
    table = await fail_at_each_call(
        nothing,
        lambda _: open_unix_listener(path),
        SystemCalls(number, of=calls),
        check=check,
    )
    assert table.failed == 4 + 3 * is_one_left_behind


async def test_a_socket_file_that_somebody_listens_on_is_not_replaced(tmp_path):
    """The address is in use and named; the one who listens is not disturbed."""
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve_unix(echo, path, task_status=task_status))
        before = path.stat().st_ino
        with pytest.raises(OSError, match=str(path)) as info:
            await open_unix_listener(path)
        assert info.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=str(path)):
            await serve_unix(echo, path)
        assert path.stat().st_ino == before
        assert await ask(await open_unix_socket(path), b"alive") == b"alive"
        nursery.cancel_scope.cancel()


async def test_a_listener_whose_queue_is_full_is_not_replaced(tmp_path):
    """It is busy, not dead."""
    path = tmp_path / "socket"
    listener = await open_unix_listener(path, backlog=0)
    clients = []
    try:
        answer = 0
        while answer != errno.EAGAIN:
            client = stdlib_socket.socket(stdlib_socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            answer = client.connect_ex(os.fspath(path))
        with pytest.raises(OSError, match=str(path)):
            await open_unix_listener(path)
        assert path.is_socket()
    finally:
        for client in clients:
            client.close()
        await listener.aclose()


def make_file(path) -> None:
    path.write_text("precious")


def make_folder(path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_file, make_folder], ids=["a file", "a folder"])
async def test_what_is_no_socket_is_not_replaced(tmp_path, make):
    """The error names it, and it is what it was."""
    path = tmp_path / "precious"
    make(path)
    before = path.stat()
    with pytest.raises(OSError, match=str(path)):
        await open_unix_listener(path)
    assert path.stat() == before


async def test_a_link_to_a_file_is_not_replaced(tmp_path):
    """Nor is the file it leads to."""
    make_file(tmp_path / "precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="link"):
        await open_unix_listener(tmp_path / "link")
    assert (tmp_path / "link").read_text() == "precious"


async def test_a_datagram_socket_that_is_in_use_is_not_replaced(tmp_path):
    """Somebody listens there, if not for streams."""
    path = tmp_path / "socket"
    with stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_DGRAM) as other:
        other.bind(os.fspath(path))
        with pytest.raises(OSError, match=str(path)):
            await open_unix_listener(path)
        assert path.is_socket()


@pytest.mark.parametrize("path", ["no/such/folder/socket", "x" * 200], ids=["no folder", "long"])
async def test_a_path_that_cannot_be_made_is_named_and_leaves_no_socket_open(
    tmp_path, monkeypatch, path
):
    """The error says which; an open socket would be a ResourceWarning, which is an error here."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=path):
        await open_unix_listener(path)


@pytest.mark.parametrize("left_behind", [True, False], ids=["left behind", "missing"])
async def test_a_refused_unix_connection_names_the_path(tmp_path, left_behind):
    """Whether nobody listens or nothing is there."""
    path = tmp_path / "socket"
    if left_behind:
        leave_a_socket_file_behind(path)
    with pytest.raises(OSError, match=str(path)):
        await open_unix_socket(path)


async def test_opening_a_unix_listener_is_a_checkpoint(tmp_path):
    """Like every async function."""
    with trio.testing.assert_checkpoints():
        listener = await open_unix_listener(tmp_path / "socket")
    await listener.aclose()


async def test_a_cancelled_opening_of_a_unix_listener_leaves_nothing_behind(tmp_path):
    """At the first checkpoint, and where it waits for a thread to bind in: no file, no socket.

    (A socket that is left open is a ResourceWarning, which is an error here.)
    """
    path = tmp_path / "socket"
    with trio.CancelScope() as scope:
        scope.cancel()
        await open_unix_listener(path)
    assert scope.cancelled_caught

    threads = trio.to_thread.current_default_thread_limiter()
    threads.total_tokens, before = 1, threads.total_tokens
    async with threads, trio.open_nursery() as nursery:
        nursery.start_soon(open_unix_listener, path)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    threads.total_tokens = before
    assert not path.exists()


async def test_cancelling_serve_unix_cancels_the_handlers_and_takes_the_file_away(tmp_path):
    """Nothing is left: no handler, no socket, no file."""
    path = tmp_path / "socket"
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            lambda task_status: serve_unix(echo, path, task_status=task_status)
        )
        stream = await open_unix_socket(path)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not path.exists()
    assert listener.socket.fileno() == -1
    assert not await stream.receive_some()
    await stream.aclose()


@pytest.mark.parametrize("calls", [{"stat", "lstat"}, {"unlink"}], ids=["stat", "unlink"])
async def test_a_file_that_cannot_be_removed_is_told_of_by_its_path(tmp_path, calls):
    """Closing raises it; if that is cancelled, or an error is on its way, it is a warning.

    So to stop a server by cancelling it raises nothing. The socket is closed, and the next who
    listens there replaces the file.
    """
    path = tmp_path / "socket"
    said = f"cannot remove {path}: {os.strerror(errno.EACCES)}"

    async def close(_: object) -> None:
        listener = await open_unix_listener(path)
        try:
            await listener.aclose()
        finally:
            assert listener.socket.fileno() == -1

    async def close_cancelled(_: object) -> None:
        listener = await open_unix_listener(path)
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        assert scope.cancelled_caught
        assert listener.socket.fileno() == -1

    async def serve_and_cancel(_: object) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve_unix(echo, path, task_status=task_status))
            nursery.cancel_scope.cancel()

    async def serve_with_a_bug(_: object) -> None:
        async def handler(stream: SocketStream) -> None:
            async with stream:
                raise LookupError("a bug in the handler")

        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: serve_unix(handler, path, task_status=task_status)
            )
            await (await open_unix_socket(path)).aclose()
            await trio.sleep_forever()

    @contextlib.asynccontextmanager
    async def heard():
        path.unlink(missing_ok=True)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            yield heard

    for operation in (close, close_cancelled, serve_and_cancel, serve_with_a_bug):

        async def check(heard: list, attempt: FailureAttempt) -> str:
            is_left = path.exists()
            stays = is_left and operation is not close  # noqa: B023
            assert [str(each.message) for each in heard] == [
                f"[Errno {errno.EACCES}] {said}"
            ] * stays
            assert all(each.category is RuntimeWarning for each in heard)
            if operation is serve_with_a_bug and (is_left or not attempt.failed):  # noqa: B023
                assert isinstance(attempt.error, ExceptionGroup)
                assert attempt.error.subgroup(OSError) is None
            elif is_left and operation is close:  # noqa: B023
                assert isinstance(attempt.error, PermissionError)
                assert said in str(attempt.error)
                assert isinstance(attempt.error.__cause__, PermissionError)
            elif not attempt.failed:
                assert attempt.error is None
            async with await open_unix_listener(path):
                pass
            return "stays" if is_left else ""

        fault = SystemCalls(errno.EACCES, of=calls)
        table = await fail_at_each_call(heard, operation, fault, check=check)
        assert any(each.became == "stays" for each in table.attempts)


async def test_an_error_of_a_handler_ends_the_server(tmp_path):
    """As `trio.serve_listeners` has it; the file is gone all the same."""
    path = tmp_path / "socket"

    async def handler(stream: SocketStream) -> None:
        async with stream:
            raise LookupError("a bug in the handler")

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(
                lambda task_status: serve_unix(handler, path, task_status=task_status)
            )
            await (await open_unix_socket(path)).aclose()
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as info:
        await serve()
    assert info.group_contains(LookupError)
    assert not path.exists()


async def test_a_socketpair_needs_no_listener():
    """What the other tests of streams stand on."""
    a, b = await socketpair()
    async with closing(a, b):
        assert a.socket.family == trio.socket.AF_UNIX


class NotAsked(FixedBlockMemory):
    """Memory that does not know what it is good for, once it was given to a listener."""

    def is_worth_keeping(self, *_):
        raise ZeroDivisionError


async def test_a_connection_whose_memory_fails_is_closed_and_not_left_to_the_collector():
    """The peer of a stream that could not be made sees the end, on both sides of a call."""
    listeners = await open_tcp_listeners(0, host=LOCAL, memory=NotAsked(4096))
    (listener,) = listeners
    async with listener:
        async with await trio.open_tcp_stream(LOCAL, port_of(listeners)) as client:
            with pytest.raises(ZeroDivisionError) as caught:
                await listener.accept()
            with trio.fail_after(5):
                assert await client.receive_some() == b""
        caught = None
    async with (await trio.open_tcp_listeners(0, host=LOCAL))[0] as plain:
        with pytest.raises(ZeroDivisionError) as caught:
            await open_tcp_stream(LOCAL, port_of([plain]), memory=NotAsked(4096))
        async with await plain.accept() as server:
            with trio.fail_after(5):
                assert await server.receive_some() == b""
        del caught
