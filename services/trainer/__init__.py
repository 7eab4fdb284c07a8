"""The trainer service: a dataset in, a published model out."""
