"""In the gateway: two watches that disagree are an event; metrics hold no name, and no session breaks or fills them."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from jupyter_hpcsec.audit.events import Event, Trust
from jupyter_hpcsec.audit.kinds.gpunode import GpuDisagreement
from jupyter_hpcsec.gpu.compare import FRESH_S
from jupyter_hpcsec.hub.gpumetrics import gpu_metrics
from jupyter_hpcsec.hub.gpuviews import SERIES_LIMIT, SESSION_LIMIT, GpuFacts, GpuViews
from jupyter_hpcsec.tunnel import messages as m

GIB = 1 << 30
GPU = "GPU-51a1a7ed-0000-0000-0000-000000000000"
KERNEL = "0b0f5a6e-0000-4000-8000-00000000000a"
SESSION = "a" * 32


class Keeper:
    def __init__(self) -> None:
        self.noted: list[Event] = []

    def note(self, event: Event, trust: Trust = "gateway") -> None:
        self.noted.append(event)

    async def keep(self, event: Event, trust: Trust = "gateway", sealed: Any = None) -> None: ...

    def require(self) -> None: ...


class Desk:
    def __init__(self) -> None:
        self.keeper, self.now = Keeper(), 0.0
        self.views = GpuViews(self.keeper, lambda: self.now)

    def pass_time(self, seconds: float, own: m.Seen | None, root: m.Seen | None) -> None:
        for _ in range(int(seconds / 10)):
            self.now += 10
            if own:
                self.views.session_sees(SESSION, own)
            if root:
                self.views.root_sees("n1", SESSION, root)

    def lines(self, *, with_lines: bool = True) -> str:
        facts = self.views.facts({"connected": 1, "away": 0, "silent": 0}, with_lines=with_lines)
        return page(facts)


def page(facts: GpuFacts) -> str:
    class Collector:
        def collect(self) -> Any:
            return gpu_metrics(facts)

    registry = CollectorRegistry()
    registry.register(Collector())
    text = generate_latest(registry).decode()
    seen = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(seen) == len(set(seen)), "a series stands twice: Prometheus would refuse the whole page"
    return text


def seen(*held: m.Held, **more: Any) -> m.Seen:
    return m.Seen(held=list(held), namespace=7, **more)


HELD = m.Held(device=GPU, kernel=KERNEL, pids=[100], memory=4 * GIB, utilisation=0, idle_s=60)


def test_a_session_that_hides_what_root_sees_is_an_event_of_the_gateway_s() -> None:
    desk = Desk()
    desk.pass_time(600, seen(), seen(HELD))
    (event,) = desk.keeper.noted
    assert isinstance(event, GpuDisagreement)
    assert (event.session, event.node, event.device, event.rule, event.state) == (
        SESSION,
        "n1",
        GPU,
        "gpu.hidden",
        "raised",
    )
    desk.pass_time(600, seen(HELD), seen(HELD))
    assert [each.state for each in desk.keeper.noted if isinstance(each, GpuDisagreement)] == ["raised", "cleared"]


def test_a_killed_watch_is_one_too_and_two_that_agree_are_none() -> None:
    desk = Desk()
    desk.pass_time(600, seen(HELD), seen(HELD))
    assert desk.keeper.noted == []
    desk.pass_time(FRESH_S + 120, None, seen(HELD))
    assert [event.rule for event in desk.keeper.noted] == ["gpu.silent"]


def test_kernels_of_one_device_are_joined_before_they_are_compared() -> None:
    desk = Desk()
    half = m.Held(device=GPU, kernel=KERNEL.replace("a", "b"), pids=[101], memory=GIB)
    root = m.Held(device=GPU, pids=[100, 101], memory=5 * GIB)
    desk.pass_time(600, seen(HELD, half), seen(root))
    assert desk.keeper.noted == []


def test_a_node_that_is_gone_raises_and_clears_nothing() -> None:
    desk = Desk()
    desk.pass_time(600, seen(), seen(HELD))
    desk.views.node_gone("n1")
    desk.pass_time(600, seen(HELD), None)
    assert len(desk.keeper.noted) == 1


def test_metrics_of_single_sessions_are_off_by_default() -> None:
    desk = Desk()
    desk.pass_time(10, seen(HELD), None)
    assert SESSION[:12] not in desk.lines(with_lines=False)
    text = desk.lines()
    assert f'hpcsec_gpu_kernel_memory_bytes{{device="{GPU}",kernel="0b0f5a6e",session="{SESSION[:12]}"}}' in text
    assert "hpcsec_gpu_memory_held_bytes 4.294967296e+09" in text


def test_what_a_session_says_becomes_no_label_and_no_second_series() -> None:
    desk = Desk()
    lies = [m.Held(device="GPU-0 bob@x\n", kernel="alice's secret", pids=[n], memory=1) for n in range(9)]
    desk.pass_time(10, seen(HELD, HELD, *lies), None)
    text = desk.lines()
    assert "alice" not in text and "bob" not in text
    assert text.count("hpcsec_gpu_kernel_memory_bytes{") == 2


def test_series_are_bounded_by_session_and_in_all() -> None:
    desk = Desk()
    many = [m.Held(device=f"GPU-{n:08x}-0000", kernel=KERNEL, memory=1) for n in range(200)]
    desk.now = 1.0
    for n in range(60):
        desk.views.session_sees(f"{n:032x}"[::-1], seen(*many))
    facts = desk.views.facts({}, with_lines=True)
    assert len(facts.lines) == SERIES_LIMIT
    assert facts.left_out == 60 * SESSION_LIMIT - SERIES_LIMIT
    page(facts)


def test_old_views_are_forgotten() -> None:
    desk = Desk()
    desk.pass_time(10, seen(HELD), None)
    desk.now += 10_000
    assert desk.views.facts({}, with_lines=True) == GpuFacts(kernels={"used": 0, "idle": 0, "unknown": 0})
    assert desk.views._sessions == {}
