"""What bytes mean: codecs, and the messages that they are sent in.

How to read this room, each file importing only from those before it:

    other libraries   `_serialization` (hooks for msgspec and cattrs)
    what a codec is   `_codec` (and those for bytes as they are, MessagePack, JSON)
    types             `_rust_types` (for which Python has no name), `_standard_hooks` (how those of
                      Python's library are written)
    schemas           `_schema_nodes` (what a type is on the wire), `_schema_scope`,
                      `_schema_classes` and `_schema_checks` (names, fields, what is allowed),
                      `_schema` (from annotations to nodes)
    bincode, slowly   `_bincode_values`, `_bincode_explain_decode` and `_bincode_explain_encode`
                      (what is meant, and what is wrong)
    bincode, fast     `_bincode_runtime`, `_bincode_source`, `_bincode_write_runs`,
                      `_bincode_write_decoder` and `_bincode_write_encoder` (Python, written for a
                      type)
    both              `_bincode` (the codec), `_codec_of`
    messages          `_format` (the wire), `_checksum`, `_message_cutter` (out of a buffer),
                      `_message_decoder` and `_message_encoder` (without any stream)
    over streams      `_typed_receive`, `_typed_send`, `_typed_duplex` (channels)
"""

from ._bincode import Bincode as Bincode
from ._codec import Codec as Codec
from ._codec import JsonCodec as JsonCodec
from ._codec import MsgpackCodec as MsgpackCodec
from ._codec import ViewCodec as ViewCodec
from ._codec_of import codec_of as codec_of
from ._format import ProtocolVersion as ProtocolVersion
from ._message_cutter import MessageEvent as MessageEvent
from ._message_decoder import MessageDecoder as MessageDecoder
from ._message_encoder import MessageEncoder as MessageEncoder
from ._rust_types import Array as Array
from ._rust_types import Duration as Duration
from ._rust_types import Err as Err
from ._rust_types import Hook as Hook
from ._rust_types import Ok as Ok
from ._rust_types import SocketAddrV4 as SocketAddrV4
from ._rust_types import SocketAddrV6 as SocketAddrV6
from ._rust_types import Some as Some
from ._rust_types import SystemTime as SystemTime
from ._rust_types import char as char
from ._rust_types import f32 as f32
from ._rust_types import f64 as f64
from ._rust_types import i8 as i8
from ._rust_types import i16 as i16
from ._rust_types import i32 as i32
from ._rust_types import i64 as i64
from ._rust_types import i128 as i128
from ._rust_types import isize as isize
from ._rust_types import u8 as u8
from ._rust_types import u16 as u16
from ._rust_types import u32 as u32
from ._rust_types import u64 as u64
from ._rust_types import u128 as u128
from ._rust_types import usize as usize
from ._serialization import msgspec_dec_hook as msgspec_dec_hook
from ._serialization import msgspec_enc_hook as msgspec_enc_hook
from ._serialization import register_cattrs_hooks as register_cattrs_hooks
from ._standard_hooks import ChronoDateTime as ChronoDateTime
from ._standard_hooks import ChronoNaiveDate as ChronoNaiveDate
from ._standard_hooks import ChronoNaiveDateTime as ChronoNaiveDateTime
from ._standard_hooks import ChronoNaiveTime as ChronoNaiveTime
from ._standard_hooks import SystemDateTime as SystemDateTime
from ._typed_duplex import TypedChannel as TypedChannel
from ._typed_receive import MessageBatches as MessageBatches
from ._typed_receive import TypedReceiveChannel as TypedReceiveChannel
from ._typed_send import TypedSendChannel as TypedSendChannel
