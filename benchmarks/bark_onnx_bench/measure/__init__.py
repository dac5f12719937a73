"""The measurements: the workload, each stage alone, threads and batches, streaming, and a fresh process."""
