"""json_lines.py: its server, its client, and jq, which others wrote."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from functools import partial

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from programs import PATIENCE, exchange, running
from servers import EXAMPLES, example_module, needs_jq

from trio_bytesbuf import UnexpectedEof
from trio_bytesbuf.io import serve_tcp

json_lines = example_module("json_lines")


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """Run the server in here; yields its address."""
    with trio.fail_after(3 * PATIENCE):
        async with trio.open_nursery() as nursery:
            handler = partial(json_lines.serve_json_lines, json_lines.add_up)
            [listener] = await nursery.start(partial(serve_tcp, handler, 0, host="127.0.0.1"))
            yield f"127.0.0.1:{listener.socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_a_value_is_one_line(value: object) -> None:
    """No end of a line is in it, and it is read as what was written."""
    line = json_lines.dumped(value)
    assert b"\n" not in line
    assert json_lines.loaded(line) == value


GOOD = b'{"sum":[1,2]}'
BAD = {
    b"": "JSONDecodeError",
    b"{": "JSONDecodeError",
    b"\xff": "UnicodeDecodeError",
    b"[1]": "an object is wanted",
    b'{"sum":[NaN]}': "no number",
    b'{"sum":["x"]}': "TypeError",
    b'{"product":[]}': "KeyError",
    b'{"sum":[' + b"1" * 5000 + b"]}": "ValueError",
    # From 3.14 on it depends on the stack how deep is too deep, and this is not.
    b"[" * 60_000: "too deep" if sys.version_info < (3, 14) else "JSONDecodeError",
    b'{"sum":[1e999,-1e999]}': "not JSON compliant",
    b'{"sum":[' + b"1," * 50_000 + b"1]}": "at most 65536 bytes",
    b" " * 1_000_000: "at most 65536 bytes",
}


@pytest.mark.parametrize("line", BAD, ids=BAD.values())
async def test_a_bad_line_is_answered_and_the_next_one_too(line: bytes) -> None:
    """Whatever is wrong with it; also as the last line, without an end."""
    async with serving() as address:
        answers = await exchange(address, GOOD + b"\n" + line + b"\n" + GOOD + b"\n" + GOOD)
        first, bad, *others = answers.splitlines()
        assert [first, *others] == [b'{"sum":3}'] * 3
        assert BAD[line] in json.loads(bad)["error"]
        first, *bads = (await exchange(address, GOOD + b"\n" + line)).splitlines()
        assert first == b'{"sum":3}'
        assert [BAD[line] in json.loads(bad)["error"] for bad in bads] == [True] * bool(line)


async def test_many_clients_ask_much_at_once() -> None:
    """Twenty connections, a mebibyte of questions on each: every answer is the right one."""

    async def work(number: int) -> None:
        async with json_lines.open_json_lines(host, int(port)) as lines:
            values = [{"sum": [number, at] * 20} for at in range(1000)]
            answers = await lines.ask_all(values)
            assert answers == [{"sum": 20 * (number + at)} for at in range(1000)]
            assert await lines.ask({"sum": []}) == {"sum": 0}
            done.append(number)

    done: list[int] = []
    async with serving() as address, trio.open_nursery() as nursery:
        host, port = address.split(":")
        for number in range(20):
            nursery.start_soon(work, number)
    assert len(done) == 20


async def test_a_client_that_leaves_harms_nobody() -> None:
    """Some are cancelled in the middle; the others have all their answers."""

    async def work(seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with json_lines.open_json_lines(host, int(port)) as lines:
                assert await lines.ask_all([{"sum": [1]}] * 5000) == [{"sum": 1}] * 5000
                done.append(seconds)

    done: list[float] = []
    async with serving() as address, trio.open_nursery() as nursery:
        host, port = address.split(":")
        for number in range(6):
            nursery.start_soon(work, number / 500 if number % 2 else PATIENCE)
    assert done.count(PATIENCE) == 3


@needs_jq
async def test_jq_answers_line_by_line() -> None:
    """One question, one answer, again and again; then more than pipes hold, at once."""
    with trio.fail_after(PATIENCE):
        async with json_lines.open_jq("{twice: (.number * 2), text}") as jq:
            for number in range(20):
                answer = await jq.ask({"number": number, "text": "a\nb"})
                assert answer == {"twice": 2 * number, "text": "a\nb"}
            values = [{"number": at, "text": "x" * 200} for at in range(2000)]
            answers = await jq.ask_all(values)
            assert [answer["twice"] for answer in answers] == [2 * at for at in range(2000)]
            assert all(answer["text"] == "x" * 200 for answer in answers)


@needs_jq
async def test_a_jq_that_ends_is_an_error() -> None:
    """It refuses the filter, and nobody waits for its answers for ever."""
    gone = (UnexpectedEof, trio.BrokenResourceError)
    with trio.fail_after(PATIENCE), pytest.raises((*gone, ExceptionGroup)) as caught:
        async with json_lines.open_jq("nonsense(") as jq:
            await jq.ask_all([{"text": "x" * 1000}] * 1000)
    if isinstance(caught.value, ExceptionGroup):  # else the writer had something left to send
        assert caught.value.split(gone)[1] is None


async def test_the_programs_talk_to_each_other() -> None:
    """The server in a process of its own, and this as its client."""
    script = (EXAMPLES / "json_lines.py").read_text()
    async with running("serve", "0", script=script) as server:
        port = await server.line()
        assert await exchange(f"127.0.0.1:{port}", GOOD + b"\n") == b'{"sum":3}\n'
