"""All providers at once, kept from, shared and forked: the machine of `machine_providers.py`."""

from hypothesis import settings
from machine import EXAMPLES_FACTOR
from machine_providers import ProvidersMachine

TestProvidersMachine = ProvidersMachine.TestCase
TestProvidersMachine.settings = settings(
    max_examples=30 * EXAMPLES_FACTOR, stateful_step_count=40, deadline=None, print_blob=True
)
