"""What a policy grants becomes what one node enforces; what that node can't enforce is refused with one sentence."""

import dataclasses
from collections.abc import Iterable, Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jupyter_hpcsec.access import plan
from jupyter_hpcsec.access.mountinfo import Mount
from jupyter_hpcsec.access.places import Kind, Place, State, nearest
from jupyter_hpcsec.access.prefixes import is_below
from jupyter_hpcsec.access.system import INSIDE, System
from jupyter_hpcsec.access.values import (
    Bind,
    Enforcement,
    Entry,
    Link,
    Make,
    Mask,
    Network,
    Plan,
    Resolved,
    Right,
    Root,
    Subject,
    decode_plan,
    encode,
)
from jupyter_hpcsec.errors import Unavailable

NONE, READ, WRITE = Right.NONE, Right.READ, Right.WRITE
LOCAL = Mount("/", "1:1", "/", "ext4", read_only=False)
NEEDED = (
    Root(path="/usr", right=READ, origin="system: programs"),
    Root(path="/dev/null", right=WRITE, origin="system: devices", devices=True),
    Root(path="/dev/pts", right=WRITE, origin="session: terminals", make=Make.TERMINALS, devices=True),
    Root(path="/tmp", right=WRITE, origin="session: temporary files", source="/tmp/run1/t"),
    Root(path=INSIDE, right=WRITE, origin="session: sockets", source="/tmp/run1"),
)
VITAL = ("/usr/bin/python3", "/proc", "/tmp/run1")


def rules(*wishes: tuple[str, Right], required: Iterable[str] = (), **settings: object) -> Resolved:
    entries = tuple(
        Entry(path=path, right=right, rule=i, line=10 * i, who="*", required=path in required)
        for i, (path, right) in enumerate(wishes, 1)
    )
    made = Resolved(
        subject=Subject(user="alice", uid=1001, gid=1001, home="/home/alice"), policy="ab" * 32,
        enforcement=Enforcement.REQUIRED, minimum_abi=4, network=Network(), entries=entries,
    )  # fmt: skip
    return msgspec.structs.replace(made, **settings)


def node(
    resolved: Resolved,
    *special: Place,
    mounts: tuple[Mount, ...] = (LOCAL,),
    namespaces: bool = True,
    children: Mapping[str, tuple[str, ...]] | None = None,
) -> System:
    """A node on which every path is a directory, but for ``special``."""
    places = {e.path: Place(e.path, e.path, State.THERE, Kind.DIRECTORY) for e in resolved.entries}
    places |= {place.path: place for place in special}
    return System(NEEDED, VITAL, places, mounts, namespaces, children or {}, links={"/bin": "usr/bin"})


def compiled(*wishes: tuple[str, Right]) -> Plan:
    resolved = rules(*wishes)
    return plan.compile(resolved, node(resolved))


def granted(made: Plan) -> dict[str, Right]:
    return {root.path: root.right for root in made.roots if root.origin.startswith("rule")}


def masked(made: Plan) -> dict[str, Mask]:
    return {mask.path: mask.mask for mask in made.masks}


def missing(path: str) -> Place:
    return Place(path, path, State.MISSING, Kind.NOTHING)


def test_denied_inside_allowed_is_hidden_and_what_is_denied_beside_is_just_absent() -> None:
    made = compiled(("/home/alice", WRITE), ("/home/alice/.ssh", NONE), ("/data", READ), ("/secret", NONE))
    assert granted(made) == {"/home/alice": WRITE, "/data": READ}
    assert masked(made) == {"/home/alice/.ssh": Mask.HIDDEN}


def test_a_denial_wins_over_a_longer_allowance() -> None:
    made = compiled(("/data", READ), ("/data/x", NONE), ("/data/x/mine", WRITE))
    assert granted(made) == {"/data": READ}
    assert masked(made) == {"/data/x": Mask.HIDDEN}


def test_what_may_be_read_inside_what_may_be_written_is_a_mask_and_written_inside_that_a_root() -> None:
    made = compiled(("/a", WRITE), ("/a/b", READ), ("/a/b/c", WRITE))
    assert granted(made) == {"/a": WRITE, "/a/b/c": WRITE}
    assert masked(made) == {"/a/b": Mask.READ_ONLY}


def test_of_equal_paths_writing_wins_and_a_root_inside_a_like_one_is_dropped() -> None:
    assert granted(compiled(("/a", READ), ("/a", WRITE), ("/a/b", WRITE), ("/c", READ), ("/c/d", WRITE))) == {
        "/a": WRITE, "/c": READ, "/c/d": WRITE,
    }  # fmt: skip


def test_a_name_that_only_begins_like_an_allowed_one_is_not_allowed() -> None:
    made = compiled(("/data/x", READ), ("/data/x-secret", NONE))
    assert granted(made) == {"/data/x": READ}
    assert masked(made) == {}


def test_a_denial_inside_what_software_needs_holds_and_one_that_covers_it_is_refused() -> None:
    made = compiled(("/usr/bin/sudo", NONE))
    assert masked(made) == {"/usr/bin/sudo": Mask.HIDDEN}
    for path in ("/usr", "/usr/bin", "/", "/proc", "/tmp", "/tmp/run1"):
        with pytest.raises(Unavailable, match=f"rule 1 .*denies {path}, but no session starts without"):
            compiled((path, NONE))
    assert all(root.path != "/dev/pts" for root in compiled(("/dev/pts", NONE)).roots), "can be done without"


def test_a_policy_may_give_more_of_what_software_needs() -> None:
    roots = {root.path: root for root in compiled(("/usr", WRITE), ("/tmp", WRITE)).roots}
    assert roots["/usr"].right is WRITE
    assert roots["/tmp"].source == "", "the node's own /tmp, as the policy says"
    assert {root.path: root for root in compiled(("/opt", WRITE)).roots}["/tmp"].source == "/tmp/run1/t"


def test_reading_what_a_session_gets_anew_takes_nothing_from_it() -> None:
    roots = {root.path: root for root in compiled(("/tmp", READ)).roots}
    assert (roots["/tmp"].right, roots["/tmp"].source) == (WRITE, "/tmp/run1/t")


def test_all_of_the_node_is_what_is_in_its_root_directory_but_for_the_kernels_own() -> None:
    resolved = rules(("/", READ), ("/srv", NONE), ("/data/x", WRITE))
    there = ("data", "dev", "proc", "srv", "sys", "tmp", "usr")
    made = plan.compile(resolved, node(resolved, children={"/": there}))
    assert granted(made) == {"/data": READ, "/data/x": WRITE, "/usr": READ}
    assert masked(made) == {}
    assert {root.path: root for root in made.roots}["/tmp"].source == "/tmp/run1/t"


def test_links_on_the_way_are_made_anew_but_none_to_what_is_denied() -> None:
    resolved = rules(("/home/alice", WRITE), ("/old/secret", NONE))
    home = Place("/home/alice", "/export/alice", State.THERE, Kind.DIRECTORY, (("/home", "/export"),))
    secret = Place("/old/secret", "/export/alice/s", State.THERE, Kind.DIRECTORY, (("/old", "/export/alice"),))
    made = plan.compile(resolved, node(resolved, home, secret))
    assert granted(made) == {"/export/alice": WRITE}
    assert masked(made) == {"/export/alice/s": Mask.HIDDEN}
    assert made.links == (Link(path="/bin", target="usr/bin"), Link(path="/home", target="/export"))


def test_a_denied_place_is_denied_at_each_path_at_which_it_is_seen() -> None:
    resolved = rules(("/home/alice", WRITE), ("/export", READ), ("/home/alice/.ssh", NONE))
    mounts = (
        LOCAL,
        Mount("/export", "0:4", "/", "nfs", read_only=False),
        Mount("/home", "0:4", "/h", "nfs", read_only=False),
    )
    made = plan.compile(resolved, node(resolved, mounts=mounts))
    assert masked(made) == {"/home/alice/.ssh": Mask.HIDDEN, "/export/h/alice/.ssh": Mask.HIDDEN}


class TestPlacesThatAreSeenTwice:
    EXPORT = Mount("/export", "0:4", "/", "nfs", read_only=False, source="server:/")
    HOME = Mount("/home", "0:5", "/", "nfs4", read_only=False, source="server:/h")
    DATA = Mount("/data", "0:6", "/", "lustre", read_only=False, source="mgs:/data")
    PART = Mount("/home/alice/d", "0:6", "/secret/inner", "lustre", read_only=False, source="mgs:/data")
    WHOLE = Mount("/home/alice/d", "0:6", "/", "lustre", read_only=False, source="mgs:/data")

    @staticmethod
    def made(mounts: tuple[Mount, ...], *wishes: tuple[str, Right], **how: object) -> Plan:
        resolved = rules(*wishes)
        return plan.compile(resolved, node(resolved, mounts=(LOCAL, *mounts), **how))  # type: ignore[arg-type]

    def test_a_part_of_a_denied_place_that_is_mounted_where_one_may_write_is_hidden(self) -> None:
        made = self.made((self.DATA, self.PART), ("/home/alice", WRITE), ("/data", READ), ("/data/secret", NONE))
        assert masked(made) == {"/data/secret": Mask.HIDDEN, "/home/alice/d": Mask.HIDDEN}

    def test_one_export_that_is_mounted_twice_is_one(self) -> None:
        made = self.made((self.EXPORT, self.HOME), ("/export", READ), ("/home/alice/.ssh", NONE))
        assert masked(made) == {"/export/h/alice/.ssh": Mask.HIDDEN}

    def test_a_denial_that_takes_what_no_session_starts_without_by_another_path_is_refused(self) -> None:
        usr = (Mount("/srv/usr", "1:1", "/usr", "ext4", read_only=False),)
        with pytest.raises(
            Unavailable, match=r"denies /srv, which is seen at /usr, too, but no session starts without"
        ):
            self.made(usr, ("/srv", NONE))

    def test_a_home_that_a_denial_takes_is_refused_and_something_else_is_noted(self) -> None:
        wishes = (("/home/alice", WRITE), ("/export/h", NONE), ("/home/bob", READ))
        with pytest.raises(Unavailable, match=r"requires /home/alice, which rule 2 .* denies by .* paths, /export/h\."):
            self.made((self.EXPORT, self.HOME), *wishes)
        with pytest.raises(Unavailable, match=r"requires /home/alice, which rule 2 \(line 20, \*\) denies\."):
            self.made((), ("/home/alice", WRITE), ("/home", NONE))
        made = self.made((self.EXPORT, self.HOME), *wishes[1:])
        assert made.notes == (
            "/home/bob is not given (rule 2 (line 20, *)): rule 1 (line 10, *) denies by another of its paths, "
            "/export/h.",
        )

    def test_what_may_only_be_read_is_not_written_by_another_of_its_paths(self) -> None:
        made = self.made((self.DATA, self.WHOLE), ("/home/alice", WRITE), ("/data", READ))
        assert masked(made) == {"/home/alice/d": Mask.READ_ONLY}
        made = self.made((self.DATA, self.PART), ("/home/alice", WRITE), ("/data", READ))
        assert masked(made) == {"/home/alice/d": Mask.READ_ONLY}
        made = self.made((self.EXPORT, self.HOME), ("/export", WRITE), ("/home/alice/ro", READ))
        assert masked(made) == {"/export/h/alice/ro": Mask.READ_ONLY}

    def test_but_by_what_a_rule_lets_write_of_it(self) -> None:
        made = self.made((self.DATA, self.WHOLE), ("/home/alice", WRITE), ("/data", READ), ("/home/alice/d/x", WRITE))
        assert masked(made) == {"/home/alice/d": Mask.READ_ONLY}
        assert granted(made)["/home/alice/d/x"] is WRITE
        for mounts, read, write in (
            ((self.DATA, self.WHOLE), "/data", "/home/alice/d"),
            ((self.EXPORT, self.HOME), "/export", "/home/alice"),
            ((self.EXPORT, self.HOME), "/export", "/home"),
        ):
            made = self.made(mounts, (read, READ), (write, WRITE))
            assert granted(made) == {read: READ, write: WRITE}
            assert masked(made) == {}

    def test_a_rule_about_everything_else_takes_nothing_and_what_is_mounted_below_counts_for_the_nearest(self) -> None:
        inside = Mount("/home/alice/s", "0:6", "/alice", "lustre", read_only=False, source="mgs:/data")
        made = self.made((self.DATA, inside), ("/", READ), ("/home/alice", WRITE), children={"/": ("data", "home")})
        assert masked(made) == {}
        made = self.made((self.DATA, inside), ("/home", READ), ("/home/alice", WRITE), ("/data", WRITE))
        assert masked(made) == {}
        made = self.made((self.DATA, inside), ("/home", READ), ("/data", WRITE))
        assert masked(made) == {"/data/alice": Mask.READ_ONLY}

    def test_without_namespaces_it_needs_what_root_prepared(self) -> None:
        wishes = (("/home/alice", WRITE), ("/data", READ))
        with pytest.raises(Unavailable, match=r"/home/alice/d made read-only inside a place that may be written"):
            self.made((self.DATA, self.WHOLE), *wishes, namespaces=False)
        with pytest.raises(Unavailable, match=r"/home/alice/d hidden inside a place that may be written"):
            self.made((self.DATA, self.PART), *wishes, ("/data/secret", NONE), namespaces=False,
                      children={"/data": ("secret", "x")})  # fmt: skip


class TestWhatIsNotThere:
    def test_a_required_path_that_is_missing_is_refused_another_is_noted(self) -> None:
        wishes = (("/data/new", READ), ("/home/alice", WRITE))
        resolved = rules(*wishes, required=["/data/new"])
        with pytest.raises(Unavailable, match=r"rule 1 \(line 10, \*\) requires /data/new, which is missing"):
            plan.compile(resolved, node(resolved, missing("/data/new")))
        resolved = rules(*wishes)
        made = plan.compile(resolved, node(resolved, missing("/data/new")))
        assert granted(made) == {"/home/alice": WRITE}
        assert made.notes == ("/data/new is missing on this node (rule 1 (line 10, *)).",)

    def test_a_home_that_is_missing_or_read_only_is_refused_anything_else_is_noted(self) -> None:
        resolved = rules(("/home/alice", WRITE), ("/data", WRITE))
        with pytest.raises(Unavailable, match="requires /home/alice, which is missing on this node"):
            plan.compile(resolved, node(resolved, missing("/home/alice")))
        broken = Mount("/home", "1:2", "/", "nfs", read_only=True)
        with pytest.raises(Unavailable, match="write to /home/alice, whose file system is read-only on this node"):
            plan.compile(resolved, node(resolved, mounts=(LOCAL, broken)))
        made = plan.compile(resolved, node(resolved, mounts=(LOCAL, Mount("/data", "1:2", "/", "nfs", read_only=True))))
        assert made.notes == ("The file system of /data is read-only on this node (rule 2 (line 20, *)).",)

    def test_a_required_path_that_is_denied_is_refused(self) -> None:
        resolved = rules(("/data", READ), ("/data", NONE), required=["/data"])
        with pytest.raises(Unavailable, match=r"requires /data, which rule 2 .* denies"):
            plan.compile(resolved, node(resolved))

    def test_denied_inside_what_may_be_written_it_is_hidden_so_that_nobody_makes_it(self) -> None:
        resolved = rules(("/home/alice", WRITE), ("/home/alice/.ssh", NONE), ("/home/alice/ro", READ))
        made = plan.compile(resolved, node(resolved, missing("/home/alice/.ssh"), missing("/home/alice/ro")))
        assert masked(made) == {"/home/alice/.ssh": Mask.HIDDEN, "/home/alice/ro": Mask.READ_ONLY}

    def test_denied_inside_what_may_only_be_read_the_rest_is_given_around_it(self) -> None:
        resolved = rules(("/data", READ), ("/data/a/later", NONE))
        system = node(resolved, missing("/data/a/later"), children={"/data": ("a", "b", "c"), "/data/a": ("x",)})
        made = plan.compile(resolved, system)
        assert granted(made) == {"/data/a/x": READ, "/data/b": READ, "/data/c": READ}
        assert masked(made) == {}
        with pytest.raises(Unavailable, match=r"denies /data/a/later.*/data can't be listed or holds too much"):
            plan.compile(resolved, node(resolved, missing("/data/a/later")))

    def test_a_link_that_the_user_could_exchange_is_refused_where_it_matters(self) -> None:
        link = (("/home/alice/x", "/elsewhere"),)
        place = Place("/home/alice/x", "/elsewhere", State.UNTRUSTED, Kind.DIRECTORY, link)
        for right in (NONE, READ):
            resolved = rules(("/home/alice", WRITE), ("/home/alice/x", right))
            with pytest.raises(Unavailable, match="symbolic link that others than root could exchange"):
                plan.compile(resolved, node(resolved, place))
        resolved = rules(("/home/alice", WRITE), ("/home/alice/x", WRITE))
        made = plan.compile(resolved, node(resolved, place))
        assert granted(made) == {"/home/alice": WRITE}
        assert "could exchange" in made.notes[0]

    def test_a_denied_place_behind_a_closed_directory_closes_that(self) -> None:
        resolved = rules(("/home/alice", WRITE), ("/home/alice/a/b", NONE))
        closed = Place("/home/alice/a/b", "/home/alice/a", State.UNREACHABLE, Kind.DIRECTORY)
        assert masked(plan.compile(resolved, node(resolved, closed))) == {"/home/alice/a": Mask.HIDDEN}


class TestWithoutNamespaces:
    def test_a_denial_where_one_may_write_needs_a_mask_that_root_prepared(self) -> None:
        resolved = rules(("/home/alice", WRITE), ("/home/alice/.ssh", NONE))
        for there in ((), (Mount("/home/alice/.ssh", "0:9", "/", "tmpfs", read_only=False),),
                      (Mount("/home/alice/.ssh", "0:9", "/", "ext4", read_only=True),)):  # fmt: skip
            with pytest.raises(Unavailable, match=r"/home/alice/.ssh hidden.*user namespaces or masks"):
                plan.compile(resolved, node(resolved, namespaces=False, mounts=(LOCAL, *there)))
        mask = Mount("/home/alice/.ssh", "0:9", "/", "tmpfs", read_only=True)
        made = plan.compile(resolved, node(resolved, namespaces=False, mounts=(LOCAL, mask)))
        assert masked(made) == {"/home/alice/.ssh": Mask.HIDDEN}

    def test_what_may_only_be_read_there_needs_one_too(self) -> None:
        resolved = rules(("/a", WRITE), ("/a/b", READ))
        with pytest.raises(Unavailable, match="/a/b made read-only"):
            plan.compile(resolved, node(resolved, namespaces=False))
        mask = Mount("/a/b", "1:1", "/a/b", "ext4", read_only=True)
        made = plan.compile(resolved, node(resolved, namespaces=False, mounts=(LOCAL, mask)))
        assert masked(made) == {"/a/b": Mask.READ_ONLY}

    def test_a_denial_where_one_may_only_read_is_given_around(self) -> None:
        resolved = rules(("/data", READ), ("/data/x", NONE))
        made = plan.compile(resolved, node(resolved, namespaces=False, children={"/data": ("x", "y")}))
        assert granted(made) == {"/data/y": READ}
        with pytest.raises(Unavailable, match="neither masked"):
            plan.compile(resolved, node(resolved, namespaces=False))

    def test_nothing_is_made_anew(self) -> None:
        made = plan.compile(rules(), node(rules(), namespaces=False))
        assert {root.path: root.make for root in made.roots} == dict.fromkeys(
            ("/usr", "/dev/null", "/dev/pts", "/tmp/run1"), Make.PLACE
        )
        assert (made.temporary, made.links) == ("/tmp/run1/t", ())

    def test_a_network_of_its_own_is_refused(self) -> None:
        resolved = rules(network=Network(bind=Bind.PRIVATE))
        with pytest.raises(Unavailable, match="network of the session's own"):
            plan.compile(resolved, node(resolved, namespaces=False))


def test_a_denied_place_is_denied_in_snapshots_of_the_directories_above_it() -> None:
    resolved = rules(("/home/alice", WRITE), ("/home/alice/.ssh", NONE), ("/data", READ))
    seen = {"/home/alice/.ssh": ("/home/alice/.snapshot", "/home/.snapshot")}
    made = plan.compile(resolved, dataclasses.replace(node(resolved), snapshots=seen))
    assert masked(made) == {"/home/alice/.ssh": Mask.HIDDEN, "/home/alice/.snapshot": Mask.HIDDEN}


def test_names_are_resolved_where_anything_is_reached() -> None:
    assert plan.compile(rules(), node(rules())).network.connect == ()
    resolved = rules(network=Network(connect=(443, 80)))
    assert plan.compile(resolved, node(resolved)).network.connect == (53, 80, 443)


def test_it_reads_as_what_it_does_and_travels() -> None:
    made = compiled(("/home/alice", WRITE), ("/home/alice/.ssh", NONE))
    text = plan.describe(made)
    for words in ("write     /home/alice", "hidden    /home/alice/.ssh", "rule 2 (line 20, *)", "bind none"):
        assert words in text
    assert decode_plan(encode(made)) == made


def test_without_a_policy_only_listening_is_decided() -> None:
    made = plan.unrestricted("alice", Bind.NONE)
    assert (made.enforcement, made.roots, made.network.bind) == (Enforcement.ADVISORY, (), Bind.NONE)
    assert "not restricted" in plan.describe(made)


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(lambda parts: "/d/" + "/".join(parts))


@given(st.lists(st.tuples(paths, st.sampled_from(list(Right))), max_size=8), paths)
def test_the_plan_says_of_every_path_what_the_policy_says(wishes: list[tuple[str, Right]], path: str) -> None:
    """The semantics of the contract, written down a second time: deny wins, then the longest path, then writing."""
    allowed = [(len(p), r is WRITE, r) for p, r in wishes if r is not NONE and is_below(path, p)]
    denied = any(r is NONE and is_below(path, p) for p, r in wishes)
    expected = NONE if denied or not allowed else max(allowed)[2]
    made = compiled(*wishes)
    found = {root.path: root.right for root in made.roots}
    found |= {mask.path: READ if mask.mask is Mask.READ_ONLY else NONE for mask in made.masks}
    best = nearest(path, found)
    assert (NONE if best is None else found[best]) == expected
