"""asyncssh: a client and its own server in one Qt application."""

import asyncio
import contextlib

import asyncssh
import pytest

import qtinter


@pytest.fixture(scope="session")
def keys():
    """(host key, user key)."""
    return tuple(asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))


async def shell(process):
    """What the server runs for a session."""
    command, *arguments = (process.command or "").split()
    if command == "add":
        process.stdout.write(f"{sum(map(int, arguments))}\n")
        process.exit(0)
    elif command == "upper":
        async for line in process.stdin:
            process.stdout.write(line.upper())
        process.exit(0)
    elif command == "fail":
        process.stderr.write("no such thing\n")
        process.exit(3)
    elif command == "wait":
        await asyncio.Event().wait()


class Server(asyncssh.SSHServer):
    """Lets everybody with the right password in, and forwards connections."""

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == ("user", "right")

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return dest_host == "127.0.0.1"


@contextlib.asynccontextmanager
async def serving(keys, **options):
    """Gives the keyword arguments with which a client connects."""
    host_key, user_key = keys
    authorized = asyncssh.import_authorized_keys(user_key.export_public_key().decode())
    options.setdefault("authorized_client_keys", authorized)
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[host_key],
        process_factory=shell,
        **options,
    )
    known = asyncssh.import_known_hosts("* " + host_key.export_public_key().decode())
    try:
        yield {
            "host": "127.0.0.1",
            "port": server.get_port(),
            "username": "user",
            "known_hosts": known,
            "client_keys": [user_key],
            "agent_path": None,
            "config": None,
        }
    finally:
        server.close()
        await server.wait_closed()


def test_commands_at_once(run, keys):
    async def main():
        async with serving(keys) as target:
            async with asyncssh.connect(**target) as connection:

                async def add(number):
                    ended = await connection.run(f"add {number} 1", check=True)
                    return int(ended.stdout)

                sums = await asyncio.gather(*map(add, range(8)))
                failed = await connection.run("fail")
                return sums, failed.exit_status, failed.stderr

    assert run(main()) == (list(range(1, 9)), 3, "no such thing\n")


def test_a_dialogue_with_a_process(run, keys):
    async def main():
        async with serving(keys) as target:
            async with asyncssh.connect(**target) as connection:
                async with connection.create_process("upper") as process:
                    answers = []
                    for word in ("one", "two", "three"):
                        process.stdin.write(word + "\n")
                        answers.append(await process.stdout.readline())
                    process.stdin.write_eof()
                    await process.wait()
                    return answers, process.exit_status

    assert run(main()) == (["ONE\n", "TWO\n", "THREE\n"], 0)


def test_files_go_both_ways(run, keys, tmp_path):
    content = bytes(range(256)) * 8_000

    async def main():
        async with serving(keys, sftp_factory=True) as target:
            async with asyncssh.connect(**target) as connection:
                async with connection.start_sftp_client() as sftp:
                    source, copy = tmp_path / "source", tmp_path / "copy"
                    source.write_bytes(content)
                    await sftp.put(str(source), str(tmp_path / "remote"))
                    await sftp.get(str(tmp_path / "remote"), str(copy))
                    names = sorted(await sftp.listdir(str(tmp_path)))
                    return copy.read_bytes(), names

    copied, names = run(main())
    assert copied == content
    assert {"copy", "remote", "source"} <= set(names)


def test_a_port_is_forwarded(run, keys):
    async def greet(reader, writer):
        writer.write(b"hello " + await reader.readline())
        writer.close()

    async def main():
        inner = await asyncio.start_server(greet, "127.0.0.1", 0)
        inner_port = inner.sockets[0].getsockname()[1]
        async with serving(keys) as target:
            async with asyncssh.connect(**target) as connection:
                listener = await connection.forward_local_port(
                    "127.0.0.1", 0, "127.0.0.1", inner_port
                )
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", listener.get_port()
                )
                writer.write(b"tunnel\n")
                answer = await reader.read()
                writer.close()
                await writer.wait_closed()
                listener.close()
                await listener.wait_closed()
        inner.close()
        await inner.wait_closed()
        return answer

    assert run(main()) == b"hello tunnel\n"


def test_passwords(run, keys):
    async def main():
        async with serving(keys, authorized_client_keys=None) as target:
            target["client_keys"] = None
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(**target, password="wrong")
            async with asyncssh.connect(**target, password="right") as connection:
                return (await connection.run("add 2 2")).stdout

    assert run(main()) == "4\n"


def test_a_command_is_given_up(run, keys):
    async def main():
        async with serving(keys) as target:
            async with asyncssh.connect(**target) as connection:
                with pytest.raises(asyncssh.TimeoutError):
                    await connection.run("wait", timeout=0.05)
                return (await connection.run("add 1 1")).stdout

    assert run(main()) == "2\n"


def test_a_slot_runs_a_command(run, keys, signals):
    async def main():
        async with serving(keys) as target:
            async with asyncssh.connect(**target) as connection:

                async def add(number):
                    ended = await connection.run(f"add {number} {number}")
                    signals.text.emit(ended.stdout.strip())

                signals.number.connect(qtinter.asyncslot(add))
                async with qtinter.signalwait(signals.text) as answer:
                    signals.number.emit(21)
                    return await answer

    assert run(main()) == "42"
