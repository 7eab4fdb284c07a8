"""Programs that print the speed and quality figures that the project quotes."""
