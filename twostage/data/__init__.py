"""Photographs and concentrations: from a table to batches."""
