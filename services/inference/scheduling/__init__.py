"""Which texts are computed next and together, and which are refused. Runs nothing itself."""
