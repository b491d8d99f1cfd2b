"""`check_laws`: whether an object of this library still obeys the laws at the head of its file."""

from __future__ import annotations

from typing import Any

from ..buffered import BufReader, BufStream, BufWriter, InflatedRead, ReceiveBuffer, SharedWriter
from ..buffered._deflate import check_inflated_read
from ..buffered._filling import check_filling
from ..buffered._receive_buffer import check_receive_buffer
from ..buffered._shared_writer import check_shared_writer
from ..buffered._stream import Buffering
from ..buffered._writing import check_writing
from ..mem import BufferMemory, SharedPool, TrackingPool
from ..mem._arena import check_buffer_memory
from ..mem._capped import CappedMemory, check_capped
from ..mem._pool import ShelvedMemory, check_pool
from ..mem._shared import check_shared_pool
from ..mem._tracking import check_tracking
from ..seq import BytesBuf, BytesReader, BytesView
from ..seq._builder import check_buf
from ..seq._reader import check_reader
from ..seq._view import check_view
from ..wire import (
    MessageDecoder,
    MessageEncoder,
    TypedChannel,
    TypedReceiveChannel,
    TypedSendChannel,
)
from ..wire._message_cutter import check_message_cutter
from ..wire._message_encoder import check_message_encoder
from ..wire._typed_receive import ReceivesMessages, check_receives_messages
from ..wire._typed_send import SendsMessages, check_sends_messages

AtRest = BytesView | BytesReader | BytesBuf | ShelvedMemory | BufferMemory | CappedMemory
InMessages = ReceiveBuffer | BufReader | BufWriter | BufStream | InflatedRead | SharedWriter
Typed = (
    MessageDecoder[Any]
    | MessageEncoder[Any]
    | TypedReceiveChannel[Any]
    | TypedSendChannel[Any]
    | TypedChannel[Any, Any]
)


def check_laws(thing: AtRest | InMessages | Typed) -> None:
    """Raise AssertionError, with the law's words, if `thing` breaks a law of its kind.

    For tests, after each step. Cost: a look at each piece or block.

    Raises:
      AssertionError: a law is broken, which is a bug in this library.
      TypeError: there are no laws for this kind of thing.
    """
    match thing:
        case BytesView():
            check_view(thing)
        case BytesReader():
            check_reader(thing)
        case BytesBuf():
            check_buf(thing)
        case TrackingPool():
            check_tracking(thing)
        case SharedPool():
            check_shared_pool(thing)
        case BufferMemory():
            check_buffer_memory(thing)
        case CappedMemory():
            check_capped(thing)
        case ShelvedMemory():
            check_pool(thing)
        case ReceiveBuffer():
            check_receive_buffer(thing)
        case Buffering():
            check_filling(thing)
            check_writing(thing)
        case BufReader():
            check_filling(thing)
        case BufWriter():
            check_writing(thing)
        case InflatedRead():
            check_inflated_read(thing)
        case SharedWriter():
            check_shared_writer(thing)
        case MessageDecoder():
            check_receive_buffer(thing._buffer)
            check_message_cutter(thing._cutter)
        case MessageEncoder():
            check_message_encoder(thing)
        case ReceivesMessages() | SendsMessages():
            if isinstance(thing, ReceivesMessages):
                check_receives_messages(thing)
            if isinstance(thing, SendsMessages):
                check_sends_messages(thing)
        case _:
            raise TypeError(f"there are no laws for a {type(thing).__name__}")
