"""What people run around the parts: quickstart, development cluster, doctor and benchmarks."""
