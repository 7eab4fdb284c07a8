"""What was published of a dataset, shown: previews, findings, comparisons, downloads."""
