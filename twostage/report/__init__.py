"""For people: figures, tables and the page of a run."""
