"""Tests of batch jobs share one job that was not stopped."""

from batches import batch as batch
