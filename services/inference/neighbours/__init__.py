"""What texts are nearest to among the rows that a model learnt from, and what that says of them."""
