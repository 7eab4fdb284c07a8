"""Runs that several machines carry out together, by Ray. Nothing here is needed for other runs."""
