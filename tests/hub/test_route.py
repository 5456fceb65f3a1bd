from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from jupyter_hpcsec.errors import Malformed
from jupyter_hpcsec.hub.route import SUN_PATH_LIMIT, socket_url


@pytest.mark.parametrize(
    "path", ["s.sock", "/run/../etc/x", "/run/HPCSEC/x.sock", "/run/é.sock", "/run/a\nb", "/" + "a" * SUN_PATH_LIMIT]
)
def test_a_path_that_would_not_reach_the_proxy_whole_is_refused(path) -> None:
    with pytest.raises(Malformed):
        socket_url(Path(path))


def test_the_path_is_the_host() -> None:
    url = urlsplit(socket_url(Path("/run/hpcsec/s/0f.sock")))
    assert (url.scheme, url.path, unquote(url.netloc)) == ("http+unix", "", "/run/hpcsec/s/0f.sock")
