"""What tests of planted bugs have in common: a machine is played until it fails, by fixed seeds.

Which examples a seed draws changes with Hypothesis and with every change to a machine, and one
bug can show in several ways: so what a single run shows, or misses, says nothing for good. A bug
is seen if one of a few runs ends with the words that belong to it. That these are the bug's
own is what the runs without any bug are for, which all pass.
"""

import re
from collections.abc import Iterator

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

MOST_RUNS = 6


def play(machine: type[RuleBasedStateMachine], seed: int = 0, max_examples: int = 200) -> None:
    """Run a machine until its first failure, which is not made any smaller."""
    run_state_machine_as_test(
        hypothesis.seed(seed)(type(machine.__name__, (machine,), {})),
        settings=hypothesis.settings(
            max_examples=max_examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def words_of(exc: BaseException) -> Iterator[str]:
    """Yield what it says, and what those say that it is a group of.

    What fails in one run and not when it is played again is in a group of Hypothesis's.
    """
    yield str(exc)
    for inner in getattr(exc, "exceptions", ()):
        yield from words_of(inner)


def check_that_it_is_seen(
    machine: type[RuleBasedStateMachine], symptom: str, max_examples: int = 200
) -> None:
    """Demand that a run of the machine fails with these words, a pattern, in its first line."""
    seen = []
    for seed in range(MOST_RUNS):
        try:
            play(machine, seed, max_examples)
        except Exception as exc:  # noqa: BLE001  # its words tell whether it is the one
            words = [text.partition("\n")[0] for text in words_of(exc)]
            if any(re.search(symptom, line) for line in words):
                return
            seen += words
    raise AssertionError(f"no run has shown {symptom!r}, but {seen or 'nothing at all'}")
