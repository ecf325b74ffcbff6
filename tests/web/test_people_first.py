"""Results wait for pages, but not for ever."""

import asyncio

from firstlight.web.people_first import PeopleFirst


class House:
    """Answers each request when it is told to, and notes the order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.doors: dict[str, asyncio.Event] = {}
        self.ends: dict[str, asyncio.Event] = {}

    async def __call__(self, scope, receive, send) -> None:
        path = scope["path"]
        self.begun.append(path)
        if path in self.doors:
            await self.doors[path].wait()
        if path == "/broken":
            raise ValueError
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if path in self.ends:
            await self.ends[path].wait()
        await send({"type": "http.response.body", "body": b""})

    def shut(self, path: str) -> asyncio.Event:
        return self.doors.setdefault(path, asyncio.Event())


async def _ask(app, path, method="GET"):
    async def nothing(*_) -> None:
        """Neither comes nor goes."""

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    await app(scope, nothing, nothing)


RESULT = "/api/webhook/obj_analysis/token"


def test_results_wait_for_the_page_that_is_being_made():
    async def story() -> None:
        house = House()
        app, door = PeopleFirst(house, patience_s=60), house.shut("/objects/a")
        page = asyncio.create_task(_ask(app, "/objects/a"))
        await asyncio.sleep(0)
        result = asyncio.create_task(_ask(app, RESULT, "POST"))
        other = asyncio.create_task(_ask(app, "/api/sources"))
        await asyncio.sleep(0.05)
        assert house.begun == ["/objects/a", "/api/sources"]
        door.set()
        await asyncio.gather(page, result, other)
        assert house.begun[-1] == RESULT

    asyncio.run(story())


def test_they_do_not_wait_for_ever():
    async def story() -> None:
        house = House()
        app, door = PeopleFirst(house, patience_s=0.02), house.shut("/objects/a")
        page = asyncio.create_task(_ask(app, "/objects/a"))
        await asyncio.sleep(0)
        await asyncio.wait_for(_ask(app, RESULT, "POST"), 10)
        assert not page.done()
        door.set()
        await page

    asyncio.run(story())


def test_a_page_that_fails_or_is_still_being_sent_holds_up_nobody():
    async def story() -> None:
        house = House()
        app = PeopleFirst(house, patience_s=60)
        (failed,) = await asyncio.gather(_ask(app, "/broken"), return_exceptions=True)
        assert isinstance(failed, ValueError)
        await asyncio.wait_for(_ask(app, RESULT, "POST"), 10)
        end = house.ends["/events"] = asyncio.Event()
        stream = asyncio.create_task(_ask(app, "/events"))
        await asyncio.sleep(0)
        await asyncio.wait_for(_ask(app, RESULT, "POST"), 10)
        assert not stream.done()
        end.set()
        await stream

    asyncio.run(story())
