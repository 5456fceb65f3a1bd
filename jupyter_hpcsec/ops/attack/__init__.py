"""The attack suite: escape attempts that an admin runs in a session, and what came of each."""
