"""What leaves the house with a model: its card, and what other programs read it by."""
