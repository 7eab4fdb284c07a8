from __future__ import annotations

import pytest

from services.common.errors import ResourceExhausted
from services.common.slots import Slots


def test_a_slot_is_free_again_whatever_happened_in_it() -> None:
    slots = Slots(1, what="checks")

    with pytest.raises(KeyError), slots.taken("a"):
        raise KeyError
    with slots.taken("a"), pytest.raises(ResourceExhausted) as raised, slots.taken("a"):
        pass

    assert "1 checks are in progress" in str(raised.value)
    assert raised.value.retry_after is not None
    with slots.taken("a"):
        pass


def test_no_tenant_takes_the_last_slot() -> None:
    slots = Slots(3, what="checks")

    with slots.taken("a"), slots.taken("a"):
        with pytest.raises(ResourceExhausted, match="2 checks of yours"), slots.taken("a"):
            pass
        with slots.taken("b"), pytest.raises(ResourceExhausted, match="3 checks are"):
            slots.taken("c").__enter__()

    with slots.taken("a"), slots.taken("a"):
        pass
