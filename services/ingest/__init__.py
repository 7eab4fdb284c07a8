"""DatasetService: bytes in, a validated and immutable dataset out. Must not know models."""
