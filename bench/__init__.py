"""Programs behind every figure that the documentation quotes."""
