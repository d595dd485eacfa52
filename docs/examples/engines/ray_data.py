"""Ray Data. It does not keep the order of rows: a number does."""

import pandas as pd
import ray

from twostage import BatchReader

reader = BatchReader("outputs/first")
table = pd.read_csv("photos.csv").reset_index(names="row")
photographs = ray.data.from_pandas([table[first::8] for first in range(8)])  # eight tasks
readings = photographs.map_batches(reader, batch_size=256, num_cpus=1)
readings.sort("row").to_pandas().to_csv("readings.csv", index=False)
