"""What the machine over all providers is worth: each bug planted here breaks one promise of one."""

from collections.abc import Callable

import pytest
from machine_providers import PROVIDERS, ProvidersMachine
from planting import check_that_it_is_seen, play

from trio_bytesbuf.mem import (
    _arena,
    _ledger,
    _pages,
    _shared,
    _shared_handle,
    _shared_segment,
    _tracking,
)
from trio_bytesbuf.seq import _release

BUGS = []

IN_TWO_PROCESSES = "other bytes|Inconsistent data generation|unreliable results"
"""What two processes do at once cannot always be played again; then Hypothesis says that."""


def bug(name: str, symptom: str) -> Callable:
    """Count a function that breaks a provider; the machine sees it as `symptom`, a pattern."""
    marks = [pytest.mark.skipif(name not in PROVIDERS, reason="there is no memfd")]

    def add(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
        BUGS.append(pytest.param(plant, name, symptom, id=plant.__name__, marks=marks))

    return add


def machine_over(name: str) -> type[ProvidersMachine]:
    """Return the machine over one provider."""
    return type("Machine", (ProvidersMachine,), {"names": (name,)})


@bug("hooked", "other bytes")
def hooks_that_believe_the_finalizer(patch):
    """A hook runs in the finalizer of its lease, whatever the count says."""
    patch.setattr(_release._Lease, "__del__", lambda lease: lease.record.over())


@bug("hooked", "a hook that has not run|lent, but nobody sees it")
def hooks_that_are_forgotten_in_cycles(patch):
    """What the finalizer could not prove is never looked at again."""
    patch.setattr(_release, "open_slices", lambda _: 1)


@bug("buffer", "other bytes|lent")
def a_buffer_that_overlooks_one_reference(patch):
    """A block of a buffer counts as free when one memoryview of it is left."""
    patch.setattr(_arena, "_FREE", _arena._FREE + 1)
    patch.setattr(_arena, "_IDLE", _arena._IDLE + 1)


@bug("tracking", "other bytes|lent|tracked")
def a_tracker_that_overlooks_one_reference(patch):
    """A lease counts as home when one memoryview of its block is left."""
    patch.setattr(_tracking, "_LONE", _tracking._LONE + 1)


@bug("capped", "lent, but nobody sees it|BudgetExceeded")
def a_budget_that_nobody_gives_back(patch):
    """What comes home is not counted."""
    patch.setattr(_ledger.Ledger, "_is_home", lambda *_: False)


@bug("pages", IN_TWO_PROCESSES)
def pages_that_parent_and_child_share(patch):
    """Mappings are not private."""
    patch.setattr(_pages, "_PRIVATE", {})


@bug("shared", "other bytes")
def shared_blocks_that_are_leased_while_a_peer_sees_them(patch):
    """Only our own references count."""

    def take_back(segment):
        segment.generation += 1
        return True

    patch.setattr(_shared_segment.Segment, "_take_back", take_back)


@bug("shared", "other bytes")
def pickles_that_keep_nothing(patch):
    """What is under way is let go at once."""
    patch.setattr(_shared_handle._Ticket, "is_over", lambda _: True)


@bug("shared", IN_TWO_PROCESSES)
def forks_that_nobody_notices(patch):
    """Blocks are leased again though another process may see them."""
    patch.setattr(_shared, "_POOLS", set())
    patch.setattr(_shared_segment.Segment, "become_private", lambda _: None)
    patch.setattr(_shared_segment.Segment, "is_home", lambda _: True)


@pytest.mark.parametrize(("plant", "name", "symptom"), BUGS)
def test_the_machine_sees_every_planted_bug(plant, name, symptom, monkeypatch) -> None:
    """Each bug makes it fail, with the words that belong to it."""
    plant(monkeypatch)
    check_that_it_is_seen(machine_over(name), symptom, max_examples=400)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_the_machine_sees_nothing_where_nothing_is_planted(name) -> None:
    """The failures above are the bugs'."""
    play(machine_over(name), max_examples=20)
