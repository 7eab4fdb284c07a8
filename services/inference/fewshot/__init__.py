"""Labels from a handful of examples that come with the call: no training, no model of its own."""
