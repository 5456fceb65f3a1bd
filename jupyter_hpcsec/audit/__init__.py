"""The audit record: events that the audited cannot forge, kept in a Merkle tree, and what security staff ask of it."""
