"""What bytes mean: codecs, and the messages that they are sent in.

How to read this room, each file importing only from those before it:

    other libraries   `_serialization` (hooks for msgspec and cattrs)
    what a codec is   `_codec` (and those for bytes as they are, MessagePack, JSON)
    that of Rust      `bincode`, a room of its own; `_codec_of` (from a type to a codec)
    messages          `_format` (the wire), `_checksum`, `_message_cutter` (messages out of a
                      buffer), `_message_decoder` and `_message_encoder` (without any stream)
    over streams      `_typed_receive`, `_typed_send`, `_typed_duplex` (channels)
"""

from ._codec import Codec as Codec
from ._codec import JsonCodec as JsonCodec
from ._codec import MsgpackCodec as MsgpackCodec
from ._codec import ViewCodec as ViewCodec
from ._codec_of import codec_of as codec_of
from ._format import ProtocolVersion as ProtocolVersion
from ._message_cutter import MessageEvent as MessageEvent
from ._message_decoder import MessageDecoder as MessageDecoder
from ._message_encoder import MessageEncoder as MessageEncoder
from ._serialization import msgspec_dec_hook as msgspec_dec_hook
from ._serialization import msgspec_enc_hook as msgspec_enc_hook
from ._serialization import register_cattrs_hooks as register_cattrs_hooks
from ._typed_duplex import TypedChannel as TypedChannel
from ._typed_receive import MessageBatches as MessageBatches
from ._typed_receive import TypedReceiveChannel as TypedReceiveChannel
from ._typed_send import TypedSendChannel as TypedSendChannel
from .bincode import Array as Array
from .bincode import Bincode as Bincode
from .bincode import ChronoDateTime as ChronoDateTime
from .bincode import ChronoNaiveDate as ChronoNaiveDate
from .bincode import ChronoNaiveDateTime as ChronoNaiveDateTime
from .bincode import ChronoNaiveTime as ChronoNaiveTime
from .bincode import Duration as Duration
from .bincode import Err as Err
from .bincode import Hook as Hook
from .bincode import Ok as Ok
from .bincode import SocketAddrV4 as SocketAddrV4
from .bincode import SocketAddrV6 as SocketAddrV6
from .bincode import Some as Some
from .bincode import SystemDateTime as SystemDateTime
from .bincode import SystemTime as SystemTime
from .bincode import char as char
from .bincode import f32 as f32
from .bincode import f64 as f64
from .bincode import i8 as i8
from .bincode import i16 as i16
from .bincode import i32 as i32
from .bincode import i64 as i64
from .bincode import i128 as i128
from .bincode import isize as isize
from .bincode import u8 as u8
from .bincode import u16 as u16
from .bincode import u32 as u32
from .bincode import u64 as u64
from .bincode import u128 as u128
from .bincode import usize as usize
