"""Running a test's function in several threads that take turns as often as they can."""

import sys
import threading
from collections.abc import Callable, Iterable


def play_in_threads(
    play: Callable[[object], None], arguments: Iterable[object], switch_seconds: float = 1e-6
) -> None:
    """Run `play` once for each argument, all at once, and fail if one of them does."""
    failures: list[BaseException] = []

    def play_and_tell(argument: object) -> None:
        try:
            play(argument)
        except BaseException as failure:  # noqa: BLE001  # any failure is the test's
            failures.append(failure)

    threads = [threading.Thread(target=play_and_tell, args=(each,)) for each in arguments]
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(switch_seconds)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch_interval)
    assert failures == []
