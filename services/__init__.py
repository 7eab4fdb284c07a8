"""The servers of Isogloss. They run from a checkout or a container, never from the wheel."""
