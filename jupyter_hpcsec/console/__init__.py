"""The security console: a service of JupyterHub's, where security staff see sessions and the record, and act.

``page`` is what every page has (who, what scope, headers, the event before anything is shown); ``pages`` are thin
handlers over ``views``, which are pure. It runs as the gateway's user and has no rights of its own in the hub.
"""
