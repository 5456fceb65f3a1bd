import asyncio

from jupyter_hpcsec.hub.progress import EVENT_LIMIT, MESSAGE_LIMIT, ProgressFeed, printable


async def read(feed: ProgressFeed) -> list[dict[str, str | int]]:
    return [event async for event in feed.follow()]


def test_printable_is_one_bounded_line() -> None:
    assert printable("a\n\x1b[31mb\u202ec\t d") == "a [31mb c d"
    assert len(printable("x" * 10_000)) == MESSAGE_LIMIT


async def test_every_page_sees_every_message_whenever_it_comes() -> None:
    feed = ProgressFeed()
    early = asyncio.ensure_future(read(feed))
    await asyncio.sleep(0)
    feed.post("one", 5)
    await asyncio.sleep(0)
    late = asyncio.ensure_future(read(feed))
    feed.post("two", 10)
    feed.post("two", 10)
    feed.close()
    feed.post("never", 99)
    messages = [event["message"] for event in await early]
    assert messages == ["one", "two"] == [event["message"] for event in await late]
    assert [event["message"] for event in await read(feed)] == messages


def test_progress_never_goes_back() -> None:
    feed = ProgressFeed()
    for percent in (10, 40, 0):
        feed.post(f"at {percent}", percent)
    assert feed.percent == 40


async def test_a_long_wait_keeps_the_latest() -> None:
    feed = ProgressFeed()
    for number in range(EVENT_LIMIT + 50):
        feed.post(f"{number} jobs ahead", 15)
    feed.close()
    events = await read(feed)
    assert len(events) == EVENT_LIMIT and events[-1]["message"] == f"{EVENT_LIMIT + 49} jobs ahead"


async def test_a_reader_that_is_slow_misses_only_what_was_dropped() -> None:
    feed = ProgressFeed()
    feed.post("first", 0)
    reader = feed.follow()
    assert (await anext(reader))["message"] == "first"
    for number in range(EVENT_LIMIT + 10):
        feed.post(str(number), 15)
    feed.close()
    rest = [event["message"] async for event in reader]
    assert rest == [str(number) for number in range(10, EVENT_LIMIT + 10)]
