"""The targets: what takes bytes, and must hold for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import bincodes
import captures
import frames
import inflating
import leases
import messages
import sequences
import varying
import waiting

CORPUS: Final = Path(__file__).parent / "corpus"
"""What was found so far: of each target a folder of inputs, each of which goes its own way."""

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (
        frames.lines,
        frames.delimited,
        frames.lengths,
        frames.varints,
        frames.netstrings,
        frames.fixed,
        varying.numbers,
        inflating.inflate,
        messages.messages,
        messages.walk,
        bincodes.bincode,
        captures.capture,
        sequences.views,
        sequences.builders,
        waiting.waiting,
        leases.leases,
    )
}


def corpus_of(name: str) -> list[Path]:
    """Return the files of a target's inputs, in order."""
    return sorted((CORPUS / name).iterdir()) if (CORPUS / name).is_dir() else []
