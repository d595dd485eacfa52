"""Training: one loop for both stages."""
