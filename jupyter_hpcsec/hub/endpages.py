"""What a program is answered whose server was ended: JupyterHub's answer for one that does not run, and why.

JupyterLab asks its server by such requests; the extension shows the sentence. It is told to whoever may see the server
and to nobody else. JupyterHub has no hook for it, so that the method that all these answers come from is wrapped, once.
"""

import json
from typing import Any

from jupyterhub.handlers.base import UserUrlHandler

KEY = "hpcsec_ended"


def ending_of(handler: Any, user_name: str, server_name: str) -> str:
    """Why that server was ended, for the one who asks; empty where it was not, or is not theirs to know."""
    reader = handler.current_user
    user = handler.find_user(user_name) if reader and user_name else None
    if user is None or server_name not in {"", *user.orm_user.orm_spawners}:
        return ""
    own = reader.kind == "user" and reader.name == user.name
    if not own and not handler.has_scope(f"access:servers!server={user.name}/{server_name}"):
        return ""
    ended = getattr(user.spawners[server_name], "ended", None)
    return str(ended.sentence) if ended else ""


def install(handler: type[Any] = UserUrlHandler) -> None:
    """Let the answers say it; a second call changes nothing."""
    original = handler._fail_api_request
    if getattr(original, "tells_ending", False):
        return

    def _fail_api_request(self: Any, user_name: str = "", server_name: str = "") -> None:
        sentence = ending_of(self, user_name, server_name)
        if sentence:

            def told(chunk: Any) -> None:
                del self.write
                answer = json.loads(chunk)
                self.write(json.dumps(answer | {KEY: sentence, "message": f"{sentence}. {answer['message']}"}))

            self.write = told
        original(self, user_name, server_name)

    _fail_api_request.tells_ending = True  # type: ignore[attr-defined]
    handler._fail_api_request = _fail_api_request
