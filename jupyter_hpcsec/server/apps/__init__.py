"""The app proxy: Dask, TensorBoard, MLflow, Spark and the like, inside the session's own network, for its owner alone.

Mounted at ``hpcsec/app/<port>/`` and ``hpcsec/app/absolute/<port>/``. Only where the policy gave the session a network
of its own (``network.bind: private``): elsewhere a port of 127.0.0.1 is anybody's on the node, so nothing is reached.

It runs as the user, inside the sandbox; it keeps the owner's cookies and tokens from what the user runs, and other
people from both. That nothing else of the node can be reached is the network namespace's doing.
"""
