from __future__ import annotations

import pytest

from backtesting.search.dask_executor import DaskExecutor
from backtesting.search.executors import SerialExecutor
from backtesting.search.run import run_search
from backtesting.search.space import axis_of
from backtesting.search.spans import Scheme, Split
from backtesting.search.spec import SearchData, SearchSpec
from data.errors import TransientError
from tests.backtesting.search.documents import crossover, walk


@pytest.mark.integration
def test_a_cluster_of_processes_finds_the_same() -> None:
    from distributed import LocalCluster

    data = SearchData(ohlcv=walk(1_500))
    spec = SearchSpec(
        document=crossover(),
        where="test",
        axes=(axis_of("fast=2:30:1"), axis_of("slow=10:50:2")),
        split=Split(scheme=Scheme.ROLLING, folds=2),
    )
    alone = run_search(spec, data, executor=SerialExecutor())
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        assert run_search(spec, data, executor=DaskExecutor(cluster.scheduler_address)) == alone


@pytest.mark.integration
def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backtesting.cluster.CONNECT_TIMEOUT_S", 1)
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:9"), DaskExecutor("tcp://127.0.0.1:9").open(()):
        pass
