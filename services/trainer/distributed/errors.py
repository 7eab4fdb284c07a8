"""What can go wrong between machines. Needs neither torch nor Ray."""

from __future__ import annotations


class ClusterFailed(ConnectionError):
    """The cluster did not do its part; the message says what. The run may go better next time."""
