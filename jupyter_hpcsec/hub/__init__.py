"""What runs for the hub: the spawner, the gateway service, and what a job runs."""
