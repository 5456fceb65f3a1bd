from pathlib import Path

import pytest

from jupyter_hpcsec.ops.bench import ssh


def test_the_rival_is_tuned_and_touches_nobodys_settings(tmp_path: Path) -> None:
    words = ssh.client_command(
        "/usr/bin/ssh", tmp_path, port=4711, cipher=ssh.FAST_CIPHER, entrance=tmp_path / "in", server=tmp_path / "out"
    )
    assert words[words.index("-F") + 1] == "none"
    assert "-oCiphers=aes128-gcm@openssh.com" in words
    assert "-oCompression=no" in words
    assert "-oControlPath=none" in words
    assert f"-oUserKnownHostsFile={tmp_path}/known_hosts" in words
    assert words[words.index("-R") + 1] == f"{tmp_path}/in:{tmp_path}/out"


def test_without_a_cipher_it_is_ssh_who_chooses(tmp_path: Path) -> None:
    words = ssh.client_command("ssh", tmp_path, port=1, cipher="", entrance=tmp_path / "a", server=tmp_path / "b")
    assert not [word for word in words if "Ciphers" in word]


def test_the_server_listens_on_loopback_with_keys_of_its_own() -> None:
    lines = ssh.SERVER_CONFIG.format(host="127.0.0.1", port=1, directory="/d").splitlines()
    assert "ListenAddress 127.0.0.1" in lines
    assert "AuthorizedKeysFile /d/user.pub" in lines
    assert "PasswordAuthentication no" in lines
    assert "StreamLocalBindUnlink yes" in lines


@pytest.mark.parametrize(("uid", "made"), [(0, True), (1000, False)])
def test_sshds_directory_is_made_for_root_only_and_goes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, made: bool
) -> None:
    monkeypatch.setattr(ssh.os, "geteuid", lambda: uid)
    path = tmp_path / "sshd"
    with ssh.PrivilegeSeparation(path):
        assert path.exists() is made
    assert not path.exists()


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    with ssh.PrivilegeSeparation(tmp_path):
        pass
    assert tmp_path.exists()
