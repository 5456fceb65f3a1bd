"""Where the record's events go: each sink reads the record behind a cursor of its own and holds nobody up."""
