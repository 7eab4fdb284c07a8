"""Evaluations of READY models on further datasets: their rows, who works on them, and how.

One is claimed by lease and carried out in a process of its own, as a run is.
"""
