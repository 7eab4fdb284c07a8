"""The process of one evaluation: `python -m services.trainer.evaluating.run`.

Reads its spec from the first line of standard input and tells its end on standard output, as a
run's process does.
"""

from __future__ import annotations

import json
import os
import sys

from services.common.storage import open_store
from services.trainer.evaluating.spec import EvaluationSpec
from services.trainer.lifeline import hold_on_to
from services.trainer.messages import Finished
from services.trainer.outlet import stdout_outlet


def main() -> None:
    """Carry out what standard input says."""
    outlet = stdout_outlet()
    spec = EvaluationSpec.from_json(sys.stdin.readline())
    hold_on_to(spec.parent, sys.stdin, lambda _line: None)
    os.nice(spec.niceness)
    try:
        # Imported here: it takes a second, in which the parent may die.
        from services.trainer.evaluating.carrying_out import carry_out  # noqa: PLC0415

        found = carry_out(spec, open_store(spec.store_url, spec.store_options))
        outlet.tell(Finished(manifest=json.dumps(found)))
    except Exception as error:  # noqa: BLE001 (the one that waits decides what comes of it)
        outlet.tell_end(error)


if __name__ == "__main__":
    main()
