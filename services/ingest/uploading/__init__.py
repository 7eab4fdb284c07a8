"""Bytes on their way in: streams, signed parts, imports, and how much a tenant may bring."""
