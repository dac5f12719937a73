"""Training: one loop, the networks, and for each network its batches and its loss."""
