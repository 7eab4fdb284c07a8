"""Ways to compute a graph: in this process, in processes of its own, on a GPU."""
