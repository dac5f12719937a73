"""The other ways to run Bark, and this runtime, on the same workload."""
