"""The inference service: text in, vectors and labels out."""
