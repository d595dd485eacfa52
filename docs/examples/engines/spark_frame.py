"""Spark. It must be told the columns: those of the table, then those of a prediction."""

from pyspark.sql import SparkSession

from twostage import BatchReader

numbers = "concentration double, lower double, upper double, bin_index long, bin_low double, bin_high double"
columns = f"image string, target double, {numbers}, bin_probability double, status string, reason string"
reader = BatchReader("outputs/first")
photographs = SparkSession.builder.getOrCreate().read.csv("photos.csv", header=True, inferSchema=True)
readings = photographs.repartition(8).mapInPandas(lambda parts: map(reader, parts), columns)
readings.write.parquet("readings")
