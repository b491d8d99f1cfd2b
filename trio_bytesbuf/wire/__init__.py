"""What bytes mean. So far: views in what msgspec and cattrs write and read.

How to read this room: `_serialization` (hooks for msgspec and cattrs).
"""

from ._serialization import msgspec_dec_hook as msgspec_dec_hook
from ._serialization import msgspec_enc_hook as msgspec_enc_hook
from ._serialization import register_cattrs_hooks as register_cattrs_hooks
