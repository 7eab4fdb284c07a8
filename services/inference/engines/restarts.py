"""How long to wait before an engine process is started again. Starts none, and reads no clock."""

from __future__ import annotations

import math

_SETTLED_SECONDS = 30.0
# Who ends after that is no storm, however often: to be started costs a second.

_AT_ONCE = 3
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LONGEST_AFTER_ANSWERS = 4.0
# One that cannot be brought up has answered nobody: what it is asked to load may end it again and
# again. One that was up is missed by callers, who wait ten seconds for it: a text that ends it,
# sent again and again, must not cost them more than a delay.


class Restarts:
    """The ends of one process after the other."""

    def __init__(self) -> None:
        """Begin without any."""
        self._early = 0

    def pause(self, *, was_up: bool, seconds: float) -> float:
        """Note an end, and return how many seconds to wait; at once after one that lived long.

        Args:
            was_up: Whether it could take runs.
            seconds: How long it lived.
        """
        if was_up and seconds >= _SETTLED_SECONDS:
            self._early = 0
            return 0.0
        self._early += 1
        doublings = self._early - 1 - (_AT_ONCE if was_up else 0)
        if doublings < 0:
            return 0.0
        longest = _LONGEST_AFTER_ANSWERS if was_up else _LONGEST_PAUSE
        # No larger power is needed, and it would be no float at some time.
        return min(math.ldexp(_FIRST_PAUSE, min(doublings, 10)), longest)
