"""A trained model as one file for programs without Python: the graph, its file, and the proof that both read alike."""
