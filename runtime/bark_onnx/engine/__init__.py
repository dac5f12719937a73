"""Many utterances together, step by step: jobs, streams, results, and a worker on a thread."""
