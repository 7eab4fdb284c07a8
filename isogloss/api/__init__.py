"""The methods of a client, one module for each service."""
