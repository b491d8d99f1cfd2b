"""What all test files share: a heap that the garbage collector need not look at.

Hundreds of tests collect garbage, or ask the collector who refers to what, and each time it looks
at everything that it knows. Thirteen thousand collected tests are 400,000 objects, or 0.3 s for
each look; that was a third of what the whole suite took. So what is there before a file's tests
begin is frozen: the collector forgets it, and looks only at what these tests make.

Law 1. Garbage is collected before anything is frozen, so none of it stays for good.
Law 2. Nothing is ever thawed: that would bring back all of it. A test that has the collector
       find a global therefore puts it into a module that the test makes.

And the conditions under which all of them can be run again, which `conditions` has.
"""

from __future__ import annotations

import gc

import pytest
from conditions import hostile_conditions as hostile_conditions
from conditions import pytest_collection_modifyitems as pytest_collection_modifyitems
from conditions import pytest_configure as pytest_configure


def pytest_collection_finish() -> None:
    """Freeze what importing and collecting have made."""
    freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Freeze what a file's tests have left, once its fixtures are gone."""
    if nextitem is None or nextitem.path != item.path:
        freeze()


def freeze() -> None:
    """Collect the garbage, and have the collector forget the rest."""
    gc.collect()
    gc.freeze()
