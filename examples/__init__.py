"""Examples of how Isogloss is used."""
