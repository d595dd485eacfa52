"""Dask, on threads of this machine or, after `dask.distributed.Client(ADDRESS)`, on the workers of a cluster."""

import dask.dataframe as dd

from twostage import BatchReader

reader = BatchReader("outputs/first")
photographs = dd.read_csv("photos.csv", blocksize="1MB")  # a partition of some 20,000 rows
readings = photographs.map_partitions(reader)
readings.compute().to_csv("readings.csv", index=False)
