"""What the Data page reads, over this installation's database and folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.job_kinds.context import EXPORTS, IMPORTS
from app.job_kinds.transfer_in import keep_upload
from dashboard.readers import JobDesk
from dashboard.store_readers import StoreDesk
from data.errors import InvalidInput
from database.repositories.ledger_repository import LedgerRepository
from database.repositories.market_facts_repository import MarketFactsRepository
from jobs.arguments import check_file_name


class Folders:
    """Satisfies `dashboard.store_readers.FileRoom`: the folders `imports` and `exports` of a home."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def keep(self, name: str, content: bytes) -> str:
        """Put an upload where an import finds it; the name to import. Raises InvalidInput."""
        return keep_upload(self._home, name, content)

    def imports(self) -> Sequence[str]:
        """Files that can be imported, by name."""
        found = (self._home / IMPORTS).glob("*")
        return sorted(one.name for one in found if one.is_file() and not one.name.startswith("."))

    def exported(self, name: str) -> Path | None:
        """Where the export of that name is; None for anything that is no plain name of one."""
        try:
            check_file_name(name)
        except InvalidInput:
            return None
        path = self._home / EXPORTS / name
        return path if path.is_file() and not path.is_symlink() else None


@contextmanager
def open_store_desk(database_url: str, home: Path, jobs: JobDesk) -> Iterator[StoreDesk]:
    """The desk, closed with the block."""
    with ExitStack() as stack:
        ledger = LedgerRepository(database_url)
        stack.callback(ledger.close)
        facts = MarketFactsRepository(database_url)
        stack.callback(facts.close)
        yield StoreDesk(ledger=ledger, facts=facts, jobs=jobs, files=Folders(home))
