"""The forwarder's settings: what is wrong is refused with its place, and no secret stands in them."""

from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from jupyter_hpcsec.config_forward import FileSink, HpcsecForward, SyslogSink

FILE = {"type": "file", "path": "/srv/events.jsonl"}
SYSLOG = {"type": "syslog", "host": "collector.example"}


def forward(**values: Any) -> HpcsecForward:
    return HpcsecForward(config=Config({"HpcsecForward": values}))


@pytest.mark.parametrize(
    ("sinks", "said"),
    [
        ({}, r"set c\.HpcsecForward\.sinks"),
        ({"a b": FILE}, "the sink's name 'a b'"),
        ({"../x": FILE}, "the sink's name"),
        ({"": FILE}, "the sink's name"),
        ({"a": {}}, r"sinks\['a'\].*`type`"),
        ({"a": {"type": "pigeon"}}, "pigeon"),
        ({"a": {**FILE, "path": "events.jsonl"}}, r"\$\.path"),
        ({"a": {**FILE, "pth": "/x"}}, "pth"),
        ({"a": {**FILE, "keep": 0}}, r"\$\.keep"),
        ({"a": {**FILE, "format": "xml"}}, "xml"),
        ({"a": {**FILE, "batch": "many"}}, r"\$\.batch"),
        ({"a": {"type": "syslog"}}, "host"),
        ({"a": {**SYSLOG, "port": 0}}, r"\$\.port"),
        ({"a": {**SYSLOG, "facility": 24}}, r"\$\.facility"),
        ({"a": {**SYSLOG, "certificate_file": "/c.pem"}}, "both certificate_file and key_file"),
        ({"a": {**SYSLOG, "ca_file": "ca.pem"}}, r"\$\.ca_file"),
        ({"a": "file"}, "sinks"),
        ({"a": {"type": "opensearch", "urls": []}}, r"\$\.urls"),
        ({"a": {"type": "opensearch", "urls": ["http://x:9200"]}}, "unsafe_no_tls = True"),
        ({"a": {"type": "opensearch", "urls": ["https://u:p@x:9200"]}}, "without a user or password"),
        ({"a": {"type": "opensearch", "urls": ["x:9200"]}}, "must be https"),
        ({"a": {"type": "opensearch", "urls": ["https://x"], "index": "Audit"}}, r"\$\.index"),
        ({"a": {"type": "opensearch", "urls": ["https://x"], "username": "u"}}, "both username and password_file"),
        ({"a": {"type": "opensearch", "urls": ["https://x"], "password": "p"}}, "password"),
        ({"a": {"type": "splunk", "url": "https://x:8088"}}, "token_file"),
        ({"a": {"type": "splunk", "url": "https://x:8088", "token": "T"}}, "token"),
        ({"a": {"type": "splunk", "url": "http://x:8088", "token_file": "/t"}}, "unsafe_no_tls = True"),
        ({"a": {"type": "kafka", "servers": ["x"], "topic": "a"}}, r"\$\.servers"),
        ({"a": {"type": "kafka", "servers": ["x:1"], "topic": "a b"}}, r"\$\.topic"),
        ({"a": {"type": "kafka", "servers": ["x:1"], "topic": "a", "password_file": "/p"}}, "both username"),
    ],
)
def test_what_is_wrong_is_refused(sinks: dict[str, Any], said: str) -> None:
    with pytest.raises(TraitError, match=said):
        forward(sinks=sinks).settings()


def test_what_is_right_is_read() -> None:
    settings = forward(sinks={"archive": FILE, "siem": SYSLOG}, audit_directory="/a", state_directory="/s").settings()
    assert settings.sinks == {
        "archive": FileSink(path="/srv/events.jsonl"),
        "siem": SyslogSink(host="collector.example"),
    }
    assert (settings.record, settings.state) == (Path("/a"), Path("/s"))
    assert not any(sink.unsafe_sealed_values for sink in settings.sinks.values())
