"""One target under atheris, in a process of its own: ``_drive.py NAME [what libFuzzer takes]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["trio_bytesbuf"]):
    import _targets

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], _targets.TARGETS[sys.argv[1]])
    atheris.Fuzz()
