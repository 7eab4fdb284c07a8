"""Tells the end of a model to addresses outside: rows first, so that nothing told is lost."""
