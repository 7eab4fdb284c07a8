"""What is done with READY models: names that move, and bundles that leave and come."""
