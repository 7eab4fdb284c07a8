"""Canonical records in, a judged and split dataset out: what rows mean to each other."""
