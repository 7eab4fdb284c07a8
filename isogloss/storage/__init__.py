"""What the services leave for each other in the object store."""
