"""One run: its folder, what it starts from, its stages, its closing."""
