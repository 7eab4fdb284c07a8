"""Programs that keep the repository true. Nothing here is installed or imported by a service."""
