"""The command line: a relay to run, a demonstration, a look at messages, a benchmark.

`python -m trio_bytesbuf`, or `trio-bytesbuf` where it is installed. How to read this folder, each
file importing only from those before it: `_words` (quantities and errors as people say them),
`_address` (`HOST:PORT` and its sisters), `_screen` (what is shown and where; plain lines and JSON),
`_live` (the same in colour, the only file that imports rich), `_closing` (how connections end),
`_figures` (what a relay counts), `_relay`, `_demo`; `_walk` (what stands where in a stream of
messages), `_account` (what is told of one: `_picture` for people, `_records` for programs),
`_dump`; `_bench_peer` (a process that sends), `_bench`; `_options` (what can be typed; help),
`_main` (what is done, and exit codes).
"""

from ._main import main as main
