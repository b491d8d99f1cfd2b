"""bincode 1, as Rust's async-io-typed has it, for typed Python: what a value is in bytes.

How to read this room, each file importing only from those before it:

    types     `_rust_types` (for which Python has no name), `_standard_hooks` (how those of Python's
              library are written)
    schemas   `_schema_nodes` (what a type is on the wire), `_schema_scope`, `_schema_classes` and
              `_schema_checks` (names, fields, what is allowed), `_schema` (from annotations to
              nodes)
    slowly    `_values`, `_explain_decode` and `_explain_encode` (what is meant, and what is wrong)
    fast      `_runtime`, `_source`, `_write_runs`, `_write_decoder` and `_write_encoder` (Python,
              written for a type)
    both      `_bincode` (the codec)
"""

from ._bincode import Bincode as Bincode
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
from ._standard_hooks import ChronoDateTime as ChronoDateTime
from ._standard_hooks import ChronoNaiveDate as ChronoNaiveDate
from ._standard_hooks import ChronoNaiveDateTime as ChronoNaiveDateTime
from ._standard_hooks import ChronoNaiveTime as ChronoNaiveTime
from ._standard_hooks import SystemDateTime as SystemDateTime
