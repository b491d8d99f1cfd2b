"""What bytes mean: codecs, and the messages that they are sent in.

How to read this room, each file importing only from those before it:

* `_serialization` (hooks for msgspec and cattrs), `_codec` (what a codec is);
* messages: `_format` (the wire), `_checksum`, `_message_cutter` (messages out of a buffer),
  `_message_decoder` and `_message_encoder` (without any stream);
* over streams: `_typed_receive`, `_typed_send`, `_typed_duplex` (channels).
"""

from ._codec import Codec as Codec
from ._codec import ViewCodec as ViewCodec
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
