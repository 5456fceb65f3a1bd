"""What security staff do with the audit record, behind ``hpcsec audit``."""
