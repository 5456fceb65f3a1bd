"""What the gateway tells of uploads in pieces and of downloads in part: nothing passes before it is on record."""

import base64
import hashlib

import pytest

from jupyter_hpcsec.audit.events import kind_of
from jupyter_hpcsec.audit.tap.stream import StreamTap
from tests.audit.tap.feeding import Fed, answer, request, site

API = "/user/alice/hpcsec/api/transfers"
ID = "0123456789abcdef" * 2
DATA = b"x" * 1000


def repr_digest(data: bytes) -> str:
    return f"Repr-Digest: sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def piece(first: int, data: bytes, *headers: str, path: str = "a%20b/../c") -> bytes:
    return request(f"PATCH {API}/uploads/{path}?upload={ID}", f"Upload-Offset: {first}", *headers, body=data)


@pytest.mark.parametrize(
    "line",
    [
        f"POST {API}/uploads/f", f"PATCH {API}/uploads/f?upload={ID}", f"DELETE {API}/uploads/f?upload={ID}",
        f"GET {API}/digests/f", f"PATCH {API}/anything",
    ],
)  # fmt: skip
def test_what_changes_files_or_tells_of_their_content_waits_for_the_record(line: str) -> None:
    fed = Fed().browser(request(line))
    (begun,) = fed.required
    assert kind_of(begun.event) == "http.begun" and not fed.noted


@pytest.mark.parametrize("line", [f"HEAD {API}/uploads/f?upload={ID}", f"GET {API}/uploads", f"OPTIONS {API}/uploads"])
def test_looking_does_not_wait(line: str) -> None:
    assert not Fed().browser(request(line)).required


def test_an_upload_from_its_beginning_to_its_end() -> None:
    fed = Fed().browser(request(f"POST {API}/uploads/a%20b/../c", "Upload-Length: 3000"))
    fed.server(answer("201 Created", f"Location: {API}/uploads/a%20b/../c?upload={ID}"))
    fed.browser(piece(0, DATA), [70, 500]).server(answer("204 No Content", "Upload-Offset: 1000"))
    fed.browser(piece(1000, DATA)[:-400]).close()  # the tunnel is cut
    fed = Fed(StreamTap(site(hashes_files=True))).browser(piece(1000, 2 * DATA, repr_digest(3 * DATA)))
    (begun,) = fed.of("http.begun")
    assert begun.object.name == f"{API}/uploads/a b/../c"
    fed.server(answer("204 No Content", "Upload-Offset: 3000", repr_digest(3 * DATA)))
    (told,) = fed.of("upload.piece")
    assert (told.upload, told.object.name, told.first, told.object.size) == (ID, "c", 1000, 2000)
    assert told.object.sha256 == hashlib.sha256(2 * DATA).hexdigest()
    (told,) = fed.of("upload.completed")
    assert (told.upload, told.object.name, told.object.size) == (ID, "c", 3000)
    assert told.object.sha256 == hashlib.sha256(3 * DATA).hexdigest() and told.decision == "allowed"


def test_the_beginning_a_cut_and_a_cancel() -> None:
    fed = Fed().browser(request(f"POST {API}/uploads/f", "Upload-Length: 3000"))
    fed.server(answer("201 Created", f"Location: {API}/uploads/f?upload={ID}"))
    (told,) = fed.of("upload.begun")
    assert (told.upload, told.object.name, told.object.size) == (ID, "f", 3000)
    fed.browser(piece(0, DATA)[:-400]).close()
    (told,) = fed.of("upload.piece")
    assert (told.object.size, told.decision) == (600, "")
    fed = Fed().browser(request(f"DELETE {API}/uploads/f?upload={ID}")).server(answer("204 No Content"))
    assert fed.of("upload.cancelled")[0].upload == ID


def test_what_was_refused_or_only_claimed_is_not_told_as_done() -> None:
    for status in ("422 Unprocessable Entity", "460 Checksum Mismatch", "409 Conflict"):
        fed = Fed().browser(piece(0, DATA, repr_digest(DATA))).server(answer(status))
        assert not fed.of("upload.completed") and not fed.of("upload.piece")
    fed = Fed().browser(piece(0, DATA, repr_digest(DATA))).server(answer("204 No Content", "Upload-Offset: 1000"))
    assert not fed.of("upload.completed")
    # the server names another hash than the browser did: which one is right nobody here knows
    fed = Fed().browser(piece(0, DATA, repr_digest(DATA)))
    fed.server(answer("204 No Content", "Upload-Offset: 1000", repr_digest(b"")))
    assert fed.of("upload.completed")[0].object.sha256 == ""
    fed = Fed().browser(request(f"POST {API}/uploads/f", "Upload-Length: 1")).server(answer("403 Forbidden"))
    assert fed.of("upload.begun")[0].decision == "refused"


def test_a_download_in_part_says_which_part() -> None:
    fed = Fed().browser(request("GET /user/alice/files/f", "Range: bytes=100-"))
    fed.server(answer("206 Partial Content", "Content-Range: bytes 100-1099/1100", body=DATA))
    (told,) = fed.of("file.downloaded")
    assert (told.first, told.whole, told.object.size) == (100, 1100, 1000)
    fed = Fed().browser(request("GET /user/alice/files/f")).server(answer(body=DATA))
    assert (fed.of("file.downloaded")[0].first, fed.of("file.downloaded")[0].whole) == (0, 0)
    fed = Fed().browser(request("GET /user/alice/files/f", "Range: bytes=1-"))
    fed.server(answer("206 Partial Content", "Content-Range: nonsense", body=DATA))
    assert fed.of("file.downloaded")[0].first == 0
