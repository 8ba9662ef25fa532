"""A local web server over TCP and TLS, in plain asyncio: something to download from.

``GET /bytes/SIZE`` answers SIZE random bytes and announces their SHA-256 in
``Repr-Digest`` (RFC 9530).  ``?seconds=S`` spreads them over S seconds, ``?chunked=1``
leaves out the ``Content-Length``.

The server listens on two free ports of 127.0.0.1.  Its certificate is made at each
start, signs itself and is valid for one day; who wants to verify it needs the ``ca``
of the one line of JSON that the server writes once it is ready::

    {"http": "http://127.0.0.1:PORT", "https": "https://127.0.0.1:PORT", "ca": "..."}

It ends when its standard input does, hence at the latest with the process that
started it.
"""

import asyncio
import base64
import contextlib
import datetime
import functools
import hashlib
import ipaddress
import json
import os
import ssl
import tempfile
import threading
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

BLOCK = os.urandom(1 << 16)
MAX_SIZE = 1 << 26
MAX_SECONDS = 60
PIECES_PER_SECOND = 40


# ---------------------------------------------------------------------- responses


@functools.lru_cache(maxsize=16)
def make_body(size):
    """Return *size* bytes and their SHA-256."""
    body = (BLOCK * (size // len(BLOCK) + 1))[:size]
    return body, hashlib.sha256(body).digest()


async def send_bytes(request):
    """Handle ``GET /bytes/SIZE``."""
    size = int(request.match_info["size"])
    seconds = int(request.query.get("seconds", "0"))
    if size > MAX_SIZE or seconds > MAX_SECONDS:
        raise web.HTTPBadRequest(text="more than this server gives")
    body, digest = make_body(size)
    response = web.StreamResponse(
        headers={
            "Content-Type": "application/octet-stream",
            "Repr-Digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        }
    )
    if "chunked" in request.query:
        response.enable_chunked_encoding()
    else:
        response.content_length = size
    await response.prepare(request)

    pieces = max(1, seconds * PIECES_PER_SECOND)
    step = max(1, -(-size // pieces))
    with contextlib.suppress(ConnectionResetError):  # clients may leave at any time
        for start in range(0, size, step):
            await response.write(body[start : start + step])
            await asyncio.sleep(seconds / pieces)
        await response.write_eof()
    return response


# -------------------------------------------------------------------- certificate


def make_certificate():
    """Return a new key and a certificate for 127.0.0.1 signed with it, both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    address = x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_id, critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def make_ssl_context(key, certificate):
    """Return the server's side of TLS with *key* and *certificate*, both PEM."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "server.pem")
        path.write_bytes(key + certificate)
        context.load_cert_chain(path)
    return context


# ------------------------------------------------------------------------- server


async def end_of_input():
    """Wait until standard input is closed."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def drain():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    # A daemon thread, because Ctrl+C must not wait for it.
    threading.Thread(target=drain, daemon=True).start()
    await ended.wait()


async def serve():
    key, certificate = make_certificate()
    app = web.Application()
    app.router.add_get(r"/bytes/{size:\d{1,9}}", send_bytes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        tls = make_ssl_context(key, certificate)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        (_, http_port), (_, https_port) = runner.addresses
        addresses = {
            "http": f"http://127.0.0.1:{http_port}",
            "https": f"https://127.0.0.1:{https_port}",
            "ca": certificate.decode(),
        }
        print(json.dumps(addresses), flush=True)
        await end_of_input()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
