from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory

from data.errors import InstallationError, TransientError
from database.engine import explain_failure, libpq_url, normalise_url
from database.migrate import alembic_config, migrate
from database.repositories.installation_repository import InstallationRepository


def newest_revision() -> str:
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_a_postgresql_url_is_understood(scheme: str) -> None:
    url = normalise_url(f"{scheme}://me:p%40ss@db:5433/desk")

    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "me",
        "p@ss",
        "db",
        5433,
        "desk",
    )
    assert libpq_url(f"{scheme}://me:p%40ss@db:5433/desk") == "postgresql://me:p%40ss@db:5433/desk"


@pytest.mark.parametrize("url", ["mysql://me:hunter2@db/desk", "hunter2", "postgresql://me:hunter2@db:5432"])
def test_another_url_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(InstallationError) as refused:
        normalise_url(url)
    assert "hunter2" not in str(refused.value)
    assert "postgresql://user:password@host:5432/database" in str(refused.value)


def test_a_bug_of_ours_is_not_taken_for_a_fault_of_the_server() -> None:
    assert explain_failure(psycopg.errors.UndefinedColumn("no such column"), "postgresql://u@h/d") is None


def test_a_limit_of_the_servers_settings_is_not_tried_again() -> None:
    error = psycopg.errors.ConfigurationLimitExceeded("tuple decompression limit exceeded by operation")

    known = explain_failure(error, "postgresql://u@h/d")

    assert isinstance(known, InstallationError)
    assert "a limit in the settings of the database at" in str(known)


def test_compressed_chunks_behind_the_apache_edition_are_explained() -> None:
    error = psycopg.errors.FeatureNotSupported(
        'functionality not supported under the current "apache" license. '
        "Learn more at https://timescale.com/."
    )

    known = explain_failure(error, "postgresql://u@h/d")

    assert isinstance(known, InstallationError)
    assert "the Apache edition serving it now cannot read" in str(known)
    assert explain_failure(psycopg.errors.FeatureNotSupported("no such cast"), "postgresql://u@h/d") is None


def test_a_full_disk_and_a_deadlock_may_pass() -> None:
    for error in (psycopg.errors.DiskFull("full"), psycopg.errors.DeadlockDetected("deadlock")):
        assert isinstance(explain_failure(error, "postgresql://u@h/d"), TransientError)


@pytest.mark.integration
def test_a_wrong_password_an_absent_database_and_a_closed_port_are_told_apart(database_url: str) -> None:
    right = normalise_url(database_url)
    wrong = {
        "password": (right.set(password="hunter2"), InstallationError, "password authentication failed"),
        "database": (right.set(database="absent"), InstallationError, 'database "absent" does not exist'),
        "port": (right.set(port=1), TransientError, "cannot be reached"),
    }
    for url, kind, words in wrong.values():
        with pytest.raises(kind) as failed:
            migrate(url.render_as_string(hide_password=False))
        message = str(failed.value)
        assert words in message
        assert "hunter2" not in message
        assert str(right.password) not in message
        assert "\n" not in message


@pytest.mark.integration
def test_processes_that_migrate_at_once_all_succeed(new_database: Callable[[], str]) -> None:
    url = new_database()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(migrate, [url] * 4))

    assert found == [newest_revision()] * 4


@pytest.mark.integration
def test_the_way_down_leaves_nothing_behind_and_the_way_up_works_again(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    migrate(url)
    engine = sqlalchemy.create_engine(normalise_url(url))
    with engine.connect() as connection:
        config = alembic_config(connection)
        command.downgrade(config, "base")
        connection.commit()
        tables = sqlalchemy.inspect(connection).get_table_names()
    engine.dispose()

    assert tables == ["alembic_version"]
    assert migrate(url) == newest_revision()


@pytest.mark.integration
def test_a_database_of_a_newer_program_is_refused(new_database: Callable[[], str]) -> None:
    url = new_database()
    migrate(url)
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(InstallationError, match="newer Candlewick"):
        migrate(url)


@pytest.mark.integration
def test_whose_trades_a_database_holds_is_settled_by_the_first_claim(new_database: Callable[[], str]) -> None:
    url = new_database()
    migrate(url)
    installation = InstallationRepository(url)

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(installation.claim_venue_source, ["real", "simulated", "real", "simulated"]))

    assert len(found) == 1
    assert installation.claim_venue_source("real") == found.pop()
    assert installation.get("created_at") is not None
    assert installation.get("absent") is None


@pytest.mark.integration
def test_a_value_that_is_set_again_is_replaced(new_database: Callable[[], str]) -> None:
    url = new_database()
    migrate(url)
    installation = InstallationRepository(url)
    installation.set("key", "one")
    installation.set("key", "two")

    assert installation.get("key") == "two"


@pytest.mark.integration
def test_what_bots_did_before_orders_named_their_market_is_their_markets(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    migrate(url, revision="0011")
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute(
            "INSERT INTO markets (exchange, symbol) VALUES ('okx', 'BTC-USDT'), ('okx', 'ETH-USDT')"
        )
        connection.execute(
            "INSERT INTO bots (name, config, source, market_id, strategy, state, desired_state, asked_at,"
            " created_at, updated_at) SELECT 'old', '{}', '', market_id, 's', 'running', 'running', now(),"
            " now(), now() FROM markets WHERE symbol = 'ETH-USDT'"
        )
        connection.execute(
            "INSERT INTO bot_orders (bot_id, order_sequence, side, position_side, reason, status, decided_at)"
            " SELECT bot_id, 1, 'buy', 'long', 'entry', 'filled', now() FROM bots"
        )
        connection.execute(
            "INSERT INTO bot_fills (bot_id, order_sequence, side, position_side, reason, price, quantity,"
            " fee, slippage, filled_at, ambiguous)"
            " SELECT bot_id, 1, 'buy', 'long', 'entry', 1, 1, 0, 0, now(), false FROM bots"
        )
    migrate(url)
    with psycopg.connect(libpq_url(url)) as connection:
        rows = connection.execute(
            "SELECT m.symbol FROM bot_fills f JOIN bot_orders o USING (bot_id, order_sequence)"
            " JOIN markets m ON m.market_id = f.market_id AND m.market_id = o.market_id"
        ).fetchall()
    assert rows == [("ETH-USDT",)]


@pytest.mark.integration
def test_what_a_bot_did_before_its_symbol_was_changed_is_of_the_symbol_it_had_then(
    new_database: Callable[[], str],
) -> None:
    url = new_database()
    migrate(url, revision="0011")
    with psycopg.connect(libpq_url(url)) as connection:
        connection.execute(
            "INSERT INTO markets (exchange, symbol) VALUES ('okx', 'BTC-USDT'), ('okx', 'ETH-USDT')"
        )
        connection.execute(
            "INSERT INTO bots (name, config, source, market_id, strategy, state, desired_state, asked_at,"
            " created_at, updated_at) SELECT 'moved', '{}', '', market_id, 's', 'running', 'running', now(),"
            " now(), now() FROM markets WHERE symbol = 'ETH-USDT'"
        )
        for version, symbol, day in ((1, "BTC-USDT", 1), (2, "ETH-USDT", 5)):
            config = f'{{"venue": "okx", "symbol": "{symbol}"}}'
            since = f"2026-03-0{day}T00:00Z"
            connection.execute(
                "INSERT INTO bot_versions (bot_id, version, config, at, who, from_file, applied_at)"
                " SELECT bot_id, %s, %s::jsonb, %s, 'anna', false, %s FROM bots",
                (version, config, since, since),
            )
            connection.execute(
                "INSERT INTO bot_checkpoints (bot_id, opened_at, config, strategy_version, account)"
                " SELECT bot_id, %s, %s::jsonb, 'v', '{}' FROM bots",
                (since, config),
            )
        for sequence, day in ((1, 2), (2, 5), (3, 6)):
            # The second was decided at the last close before the change, which called it off.
            decided = f"2026-03-0{day}T00:00Z"
            connection.execute(
                "INSERT INTO bot_orders (bot_id, order_sequence, side, position_side, reason, status,"
                " decided_at) SELECT bot_id, %s, 'buy', 'long', 'entry', %s, %s FROM bots",
                (sequence, "cancelled" if sequence == 2 else "filled", decided),
            )
            if sequence != 2:
                connection.execute(
                    "INSERT INTO bot_fills (bot_id, order_sequence, side, position_side, reason, price,"
                    " quantity, fee, slippage, filled_at, ambiguous)"
                    " SELECT bot_id, %s, 'buy', 'long', 'entry', 1, 1, 0, 0, %s, false FROM bots",
                    (sequence, decided),
                )
        connection.execute(
            "INSERT INTO bot_trades (bot_id, trade_sequence, side, entry_at, entry_price, exit_at,"
            " exit_price, quantity, fees, pnl, return_rate, exit_reason)"
            " SELECT bot_id, 1, 'long', '2026-03-02T00:00Z', 1, '2026-03-04T00:00Z', 1, 1, 0, 0, 0,"
            " 'exit_signal' FROM bots"
        )
    migrate(url)
    with psycopg.connect(libpq_url(url)) as connection:

        def symbols(table: str) -> list[str]:
            rows = connection.execute(
                f"SELECT symbol FROM {table} r JOIN markets USING (market_id)"
                " ORDER BY to_jsonb(r) ->> 'order_sequence'"
            )
            return [symbol for (symbol,) in rows]

        assert symbols("bot_fills") == ["BTC-USDT", "ETH-USDT"]
        assert symbols("bot_orders") == ["BTC-USDT", "BTC-USDT", "ETH-USDT"]
        assert symbols("bot_trades") == ["BTC-USDT"]
