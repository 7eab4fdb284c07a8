"""The parts of one training: what is chosen on which rows, losses, steps, averages, checkpoints.

Knows arrays and tensors. `training` puts the parts together; texts end there.
"""
