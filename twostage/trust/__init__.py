"""May the number be believed? Each part is fitted, applied, and written as JSON."""
