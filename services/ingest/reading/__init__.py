"""Uploaded bytes in, canonical records out: formats, encodings, dialects, malformed rows."""
