"""What this machine's disk has of the object store: files and records, verified and bounded."""
