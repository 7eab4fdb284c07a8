"""Finds by measurement which layout of engines serves most on this node."""
