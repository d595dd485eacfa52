"""What can be asked: options with default, range and meaning, and how overrides become a typed config."""
