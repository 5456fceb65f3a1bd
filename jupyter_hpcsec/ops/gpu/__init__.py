"""What people run about GPUs: replay of samples, false alarms, root's part on the node, the table in a terminal."""
