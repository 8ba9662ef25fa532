"""asyncpg with a PostgreSQL server of our own."""

import asyncio
import datetime
import io

import asyncpg
import pytest

import qtinter

from . import postgres


@pytest.fixture(scope="session")
def server():
    """Folder with the socket of a PostgreSQL server."""
    with postgres.running() as folder:
        yield folder


@pytest.fixture
def login(server):
    """Keyword arguments that log in to the server."""
    return {"host": server, "port": postgres.PORT, "user": "postgres"}


def test_values_of_many_types(run, login):
    now = datetime.datetime.now(datetime.timezone.utc)
    values = (7, "text", 2.5, b"\0bytes", [1, 2], now)

    async def main():
        connection = await asyncpg.connect(**login)
        try:
            types = "$1::int, $2::text, $3::float8, $4::bytea, $5::int[]"
            row = await connection.fetchrow(f"SELECT {types}, $6::timestamptz", *values)
        finally:
            await connection.close()
        return tuple(row)

    assert run(main()) == values


def test_a_pool_under_load(run, login):
    async def main():
        async with asyncpg.create_pool(min_size=2, max_size=5, **login) as pool:

            async def ask(number):
                await pool.execute("SELECT pg_sleep(0.002)")
                return await pool.fetchval("SELECT $1::int * 2", number)

            results = await asyncio.gather(*map(ask, range(100)))
            return results, pool.get_size()

    results, size = run(main())
    assert results == [2 * number for number in range(100)]
    assert 2 <= size <= 5


@pytest.fixture
def table(login):
    """Name of an empty table (id int, name text)."""

    async def do(statement):
        connection = await asyncpg.connect(**login)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(do("CREATE TABLE things (id int PRIMARY KEY, name text)"))
    yield "things"
    asyncio.run(do("DROP TABLE things"))


def test_transactions_commit_and_roll_back(run, login, table):
    async def main():
        connection = await asyncpg.connect(**login)
        async with connection.transaction():
            await connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
            with pytest.raises(asyncpg.UniqueViolationError):
                async with connection.transaction():
                    await connection.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
                    await connection.execute(f"INSERT INTO {table} VALUES (1, 'twice')")
        rows = await connection.fetch(f"SELECT * FROM {table}")
        await connection.close()
        return [tuple(row) for row in rows]

    assert run(main()) == [(1, "kept")]


def test_a_cursor_and_copies_of_many_rows(run, login, table):
    rows = [(number, f"row {number}") for number in range(20_000)]

    async def main():
        connection = await asyncpg.connect(**login)
        await connection.copy_records_to_table(table, records=rows)
        seen = []
        async with connection.transaction():
            async for row in connection.cursor(f"SELECT * FROM {table} ORDER BY id"):
                seen.append(tuple(row))
        output = io.BytesIO()
        await connection.copy_from_table(table, output=output, format="csv")
        await connection.close()
        return seen, output.getvalue().count(b"\n")

    assert run(main()) == (rows, len(rows))


def test_a_query_times_out_and_the_connection_lives(run, login):
    async def main():
        connection = await asyncpg.connect(**login)
        with pytest.raises(asyncio.TimeoutError):
            await connection.fetch("SELECT pg_sleep(600)", timeout=0.05)
        result = await connection.fetchval("SELECT 1")
        await connection.close()
        return result

    assert run(main()) == 1


def test_a_cancelled_query_is_cancelled_in_the_server(run, login):
    async def main():
        busy, other = await asyncpg.connect(**login), await asyncpg.connect(**login)
        pid = busy.get_server_pid()
        query = asyncio.ensure_future(busy.execute("SELECT pg_sleep(600)"))

        async def until(state):
            text = "SELECT state FROM pg_stat_activity WHERE pid = $1"
            while await other.fetchval(text, pid) != state:
                await asyncio.sleep(0.005)

        await until("active")
        query.cancel()
        with pytest.raises(asyncio.CancelledError):
            await query
        await until("idle")
        await busy.close()
        await other.close()

    run(main())


# Which of them depends on whether the message of the server or the end is seen first.
ENDED = (asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)


def test_notifications_become_signals(run, login, signals):
    async def main():
        listener, sender = (
            await asyncpg.connect(**login),
            await asyncpg.connect(**login),
        )

        def heard(connection, pid, channel, payload):
            signals.text.emit(f"{channel}: {payload}")

        await listener.add_listener("news", heard)
        async with qtinter.asyncsignalstream(signals.text) as stream:
            for number in range(3):
                await sender.execute("SELECT pg_notify('news', $1)", str(number))
            texts = [await stream.__anext__() for _ in range(3)]
        await listener.remove_listener("news", heard)
        await listener.close()
        await sender.close()
        return texts

    assert run(main()) == ["news: 0", "news: 1", "news: 2"]


def test_a_server_that_ends_the_connection(run, login):
    async def main():
        victim, other = await asyncpg.connect(**login), await asyncpg.connect(**login)
        query = asyncio.ensure_future(victim.execute("SELECT pg_sleep(600)"))
        await asyncio.sleep(0)
        await other.execute("SELECT pg_terminate_backend($1)", victim.get_server_pid())
        with pytest.raises(ENDED):
            await query
        await other.close()
        return victim.is_closed()

    assert run(main())
