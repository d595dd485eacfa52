"""The two stages and their combination."""
