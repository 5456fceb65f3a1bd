"""The console's pages: thin handlers. Each module exports ``ROUTES``: (pattern below the prefix, handler)."""
