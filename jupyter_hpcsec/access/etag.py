"""A strong validator of a file (RFC 9110, 8.8.3): the same one means the same bytes. Pure."""

import os


def etag_of(facts: os.stat_result) -> str:
    """The entity tag, quotes included: of device, inode, size and both times at which the file or its inode changed.

    The time of the inode's change is in it since nobody can set it back: with it alone a file that was changed and
    dated back has another tag. A file system whose clock is coarse may keep a tag over two changes within one tick;
    who needs to be sure compares SHA-256.
    """
    parts = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return '"{}"'.format("-".join(f"{part & (2**64 - 1):x}" for part in parts))
