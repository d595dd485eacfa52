"""Many workers, on one machine or several, that read photographs with one model."""
