"""A page for people and an address for programs, over one model in memory."""
