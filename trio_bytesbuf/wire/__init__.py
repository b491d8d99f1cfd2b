"""What bytes mean: codecs, which turn values into the bytes of a message and back.

How to read this room, each file importing only from those before it: `_serialization` (hooks for
msgspec and cattrs), `_codec` (what a codec is).
"""

from ._codec import Codec as Codec
from ._codec import ViewCodec as ViewCodec
from ._serialization import msgspec_dec_hook as msgspec_dec_hook
from ._serialization import msgspec_enc_hook as msgspec_enc_hook
from ._serialization import register_cattrs_hooks as register_cattrs_hooks
