"""A web server that says all it has in one piece and closes, as asyncio's examples do."""

import asyncio


async def serve(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nclosed")
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "0.0.0.0", 8080)
    await server.serve_forever()


asyncio.run(main())
