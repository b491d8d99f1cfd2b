"""The command line, `python -m trio_bytesbuf`: a relay to run, a demonstration, a look at messages.

How to read this folder, each file importing only from those before it: `_words` (quantities and
errors as people say them), `_address` (`HOST:PORT` and its sisters), `_screen` (what is shown and
where; plain lines), `_live` (the same in colour, the only file that imports rich), `_closing` (how
connections end), `_figures` (what a relay counts), `_relay`, `_demo`; `_walk` (what stands where in
a stream of messages), `_picture` (lines about it), `_dump`; `_main` (options and exit codes).
"""

from ._main import main as main
