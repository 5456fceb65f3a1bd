"""The GPU watch: which kernel, notebook and job holds what on which GPU, and what about that deserves a look.

``devices`` asks the driver, ``processes`` asks ``/proc``, ``sampler`` does both in a process of its own; ``sessions``
joins kernels to what was found, and ``rules`` judges it. Samples are values (``samples``): recorded ones give the same
alerts again. It reads and reports; it ends nothing by itself.
"""
