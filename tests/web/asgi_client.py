"""A synchronous client of an application in this process."""

import asyncio

import httpx


class AsgiClient:
    """Requests as `httpx` makes them, from any address."""

    def __init__(self, app):
        self.app = app

    def request(self, method, url, *, address="203.0.113.5", host="archive.example", **options):
        async def ask():
            transport = httpx.ASGITransport(
                self.app, client=(address, 50000), raise_app_exceptions=False
            )
            async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
                return await client.request(method, url, **options)

        return asyncio.run(ask())

    def get(self, url, **options):
        return self.request("GET", url, **options)

    def head(self, url, **options):
        return self.request("HEAD", url, **options)

    def post(self, url, **options):
        return self.request("POST", url, **options)

    def patch(self, url, **options):
        return self.request("PATCH", url, **options)

    def delete(self, url, **options):
        return self.request("DELETE", url, **options)


class AsgiTransport(httpx.BaseTransport):
    """Lets a synchronous client ask an application in this process."""

    def __init__(self, app):
        self.app = app

    def handle_request(self, request):
        async def ask():
            inner = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            copy = httpx.Request(
                request.method, request.url, headers=request.headers, content=request.read()
            )
            answer = await inner.handle_async_request(copy)
            body = b"".join([piece async for piece in answer.stream])
            return httpx.Response(answer.status_code, headers=answer.headers, content=body)

        return asyncio.run(ask())
