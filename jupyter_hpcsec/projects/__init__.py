"""Projects: for what purpose a site's sessions are run, who answers for it, and until when it was reviewed."""
