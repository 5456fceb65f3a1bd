"""The TLS of a sink's connection: the receiver's certificate is checked, always; ours is shown where there is one."""

import ssl
from pathlib import Path

from jupyter_hpcsec.audit import files
from jupyter_hpcsec.config_forward import TlsSink
from jupyter_hpcsec.errors import Malformed, Unavailable

SECRET_LIMIT = 4096


def context(settings: TlsSink) -> ssl.SSLContext:
    """A client's context, TLS 1.2 or newer. ``Unavailable`` with the file that can't be used."""
    made = ssl.create_default_context()
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.key_file:
        with files.translated(Path(settings.key_file)):
            files.check(Path(settings.key_file), Path(settings.key_file).stat(), "0600")
    try:
        if settings.ca_file:  # the site's own, and nobody else's
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.minimum_version = ssl.TLSVersion.TLSv1_2
            made.load_verify_locations(settings.ca_file)
        if settings.certificate_file:
            made.load_cert_chain(settings.certificate_file, settings.key_file)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(filter(None, (settings.ca_file, settings.certificate_file, settings.key_file)))
        raise Unavailable(f"{named}: {error.strerror or error}") from error
    return made


def secret(path: str) -> str:
    """A token or password that is alone in a file (0600, ours); its last line end is no part of it."""
    text = files.read_private(Path(path), SECRET_LIMIT).decode("utf-8", errors="replace").rstrip("\r\n")
    if not text or not text.isprintable():
        raise Malformed(f"{path} must hold one line with the secret and nothing else")
    return text
