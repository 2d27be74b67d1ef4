from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.processes.strategy_check import strategy_checker
from bots.bot_manager import strategies_in
from bots.config import BotConfig, parse_bot
from data.errors import InvalidInput
from data.timeframes import Timeframe
from strategies.base import Protection, Strategy
from strategies.lookahead import code_of, codes_on, generated_candles
from strategies.python.check import CheckReport, CheckRequest, Finding, check
from strategies.python.checker import ProcessChecker, PythonStrategyFactory
from strategies.python.confine import Limits
from strategies.python.source import load_source
from strategies.templates import python_files
from strategies.versions import Badge, Fault, ProofStatus
from tests.strategies.clocks import still
from tests.strategies.python_sources import BREAKOUT, HEAD, HIGHEST_EVER, breakout
from tests.strategies.series import candles_of, random_walk


def request(source: str) -> CheckRequest:
    return CheckRequest(source=source, where="python/mine.py", name="mine")


def checked(source: str) -> CheckReport:
    """In this process: what must be refused in a process of its own is tested further down."""
    return check(request(source), still)


def refusal(source: str) -> str:
    report = checked(source)
    assert not report.passed
    return "; ".join(f"{one.field} is {one.value}: {one.expected}" for one in report.findings)


def test_a_file_becomes_a_strategy_like_any_other() -> None:
    strategy: Strategy = load_source(BREAKOUT, "mine.py", name="mine", parameters={"period": "30"})
    assert strategy.name == "mine"
    assert strategy.timeframe is Timeframe.M15
    assert strategy.parameters == {"period": 30}
    assert strategy.protection == Protection(stop_loss=0.02)
    assert strategy.warmup == 31
    assert load_source(BREAKOUT, "f", name="f").description == (
        "In above the highest high of the candles before, out below their lowest low."
    )
    assert load_source(BREAKOUT, "f", name="f", timeframe="1h").timeframe is Timeframe.H1


def test_the_version_is_of_what_decides() -> None:
    def version(source: str = BREAKOUT, **more: object) -> str:
        return load_source(source, "f", name="f", **more).version  # type: ignore[arg-type]

    assert len(version()) == 64
    assert version() == version(parameters={"period": 20})
    others = {version(parameters={"period": 21}), version(timeframe="1h"), version(BREAKOUT + "\n")}
    assert len(others | {version()}) == 4


@pytest.mark.parametrize("source", [BREAKOUT, HIGHEST_EVER])
def test_the_stream_says_what_the_batch_says(source: str) -> None:
    strategy = load_source(source, "f", name="f", timeframe="5m")
    candles = random_walk(700, seed=4, gaps=0.1)
    stream = strategy.stream()
    decisions = [stream.update(candle) for candle in candles_of(candles)]
    codes = codes_on(strategy.signals, candles)
    assert [code_of(decision) for decision in decisions] == codes.tolist()
    assert np.count_nonzero(codes) > 5
    assert {decision.version for decision in decisions} == {strategy.version}


def test_a_decision_records_what_it_saw() -> None:
    strategy = load_source(BREAKOUT, "f", name="f", timeframe="5m")
    candles = random_walk(60, seed=4)
    stream = strategy.stream()
    decisions = [stream.update(candle) for candle in candles_of(candles)]
    assert decisions[0].record == {"values": {"upper": None, "lower": None}}
    assert decisions[-1].record["values"]["upper"] == candles.high[-21:-1].max()


def test_candles_out_of_order_or_of_another_length_are_refused() -> None:
    for source in (BREAKOUT, HIGHEST_EVER):
        stream = load_source(source, "f", name="f", timeframe="5m").stream()
        first, second = candles_of(random_walk(2, seed=1))
        stream.update(second)
        with pytest.raises(ValueError, match="does not follow"):
            stream.update(first)
        (hourly,) = candles_of(random_walk(1, seed=1, timeframe=Timeframe.H1))
        with pytest.raises(ValueError, match="1h"):
            stream.update(hourly)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"period": 1}, "parameters.period"),
        ({"period": "x"}, "parameters.period"),
        ({"n": 3}, "parameters.n"),
    ],
)
def test_parameters_keep_their_bounds(parameters: dict[str, float | str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_source(BREAKOUT, "f", name="mine", parameters=parameters)
    (problem,) = caught.value.problems
    assert (problem.where, problem.field) == ("mine", field)


@pytest.mark.parametrize("source", [BREAKOUT, HIGHEST_EVER])
def test_what_is_right_passes_with_a_badge(source: str) -> None:
    report = checked(source)
    assert report.passed, report
    assert report.badge is not None
    assert report.badge.status is ProofStatus.PROVEN
    assert report.compared_bars == report.badge.bars > 2_000
    assert report.version == load_source(source, "f", name="f").version


def test_look_ahead_is_refused_with_the_first_bar() -> None:
    report = checked(breakout(entry="np.append(ohlcv.close[1:], np.nan) > upper"))
    assert not report.passed
    assert report.badge is not None
    assert report.badge.counterexample is not None
    assert report.badge.counterexample.fault is Fault.LOOK_AHEAD
    assert report.badge.counterexample.reads_ahead == 1


def test_a_window_too_short_for_what_is_read_is_refused() -> None:
    report = checked(breakout(window="return self.parameters.period"))
    assert report.badge is not None
    assert report.badge.counterexample is not None
    assert report.badge.counterexample.fault is Fault.WINDOW


def test_a_memory_that_disagrees_with_the_batch_is_refused() -> None:
    report = checked(HIGHEST_EVER.replace("rises = candle.close >", "rises = candle.close >= 1.001 *"))
    assert report.badge is not None
    assert report.badge.counterexample is not None
    assert report.badge.counterexample.fault is Fault.STREAM


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def (", "line 1"),
        (HEAD, "none: expected exactly one class"),
        (BREAKOUT + "\nclass Other(Breakout):\n    pass\n", "Breakout, Other: expected exactly one class"),
        (breakout(imports="import os\nimport numpy as np\n"), "line 4 is import os: may import"),
        (breakout(imports="from urllib import request\nimport numpy as np\n"), "from urllib"),
        (breakout(imports="from .x import y\nimport numpy as np\n"), "a relative import"),
        (breakout(imports="import numpy as np\nopen('x')\n"), "open: this name reaches files"),
        (breakout(imports="import numpy as np\neval('1')\n"), "eval: this name"),
        (breakout(imports="import numpy as np\nx = np.load\n"), ".load: this attribute"),
        (breakout(imports="import numpy as np\nx = ().__class__\n"), ".__class__: this attribute"),
        (breakout(imports="import numpy as np\nx = __builtins__\n"), "__builtins__: this name"),
        (breakout(imports="import numpy as np\nx = np.random.default_rng()\n"), ".random"),
        (breakout(imports="from numpy import fromfile\nimport numpy as np\n"), "import fromfile"),
        (breakout(imports="import numpy as np\n1 / 0\n"), "line 5 is ZeroDivisionError"),
        (breakout(window="return 0"), "window is 0: expected a whole number"),
        (breakout(window="return '5'"), "window is '5'"),
        (breakout(window="raise KeyError('x')"), "KeyError"),
        (breakout(signals="return None\n        return self.say"), "signals is NoneType"),
        (breakout(entry="ohlcv.close - 1"), "an array of bool, not of float64"),
        (breakout(entry="ohlcv.close[1:] > 1"), "ValueError"),
        (breakout(signals="ohlcv.close[0] = 1.0\n        return self.say"), "read-only"),
        (
            BREAKOUT.replace("def signals(self, ohlcv:", "def signals(self, more, ohlcv:"),
            "signals(self, ohlcv)",
        ),
        (BREAKOUT.replace("Timeframe.M15", "'7m'"), 'timeframe is "7m"'),
        (BREAKOUT.replace("period: int = Field(20, ge=2, le=200)", "period: str = '20'"), "is a number"),
        (BREAKOUT.replace("Protection(stop_loss=0.02)", "0.02"), "protection is 0.02"),
    ],
)
def test_what_is_wrong_is_named(source: str, words: str) -> None:
    assert words in refusal(source)


def test_the_folder_and_its_python_folder_are_looked_through(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    for name in ("b.py", "python/a.py", "python/_private.py", "trend.json"):
        (tmp_path / name).write_text("")
    assert [path.name for path in python_files(tmp_path)] == ["a.py", "b.py"]
    assert python_files(tmp_path / "none") == []


def test_the_factory_asks_once_and_never_runs_what_was_refused(tmp_path: Path) -> None:
    asked: list[str] = []

    def checker(asked_for: CheckRequest) -> CheckReport:
        asked.append(asked_for.source)
        return check(asked_for, still)

    factory = PythonStrategyFactory(checker)
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(BREAKOUT)
    bad.write_text(breakout(entry="np.roll(ohlcv.close, -1) > upper"))
    assert factory.load(good).name == factory.load(good).name == "good"
    for _ in range(2):
        with pytest.raises(InvalidInput, match="depends on later candles"):
            factory.load(bad)
    assert asked == [BREAKOUT, bad.read_text()]


def test_a_bot_gets_python_that_passed_and_never_python_that_did_not(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "good.py").write_text(BREAKOUT)
    (tmp_path / "bad.py").write_text(breakout(imports="import os\nimport numpy as np\n"))
    passed = CheckReport(badge=Badge(status=ProofStatus.PROVEN, words="", bars=1, covered=1, signals=1))
    refused = CheckReport(findings=(Finding(field="line 4", value="import os", expected="not that"),))
    load = strategies_in(
        tmp_path, PythonStrategyFactory(lambda asked: refused if "import os" in asked.source else passed)
    )

    def bot(strategy: str) -> BotConfig:
        document = {"name": "b", "venue": "okx", "symbol": "BTC-USDT", "strategy": strategy, "capital": "9"}
        return parse_bot({**document, "parameters": {"period": 30}}, where="test")

    assert load(bot("good"), "").parameters == {"period": 30}
    with pytest.raises(InvalidInput, match="line 4 is import os"):
        load(bot("bad.py"), "")
    with pytest.raises(InvalidInput, match=r"has bad\.py, good\.py"):
        load(bot("none"), "")


# In a process of its own


@pytest.mark.integration
def test_the_process_gives_the_report_that_this_process_gives() -> None:
    report = strategy_checker()(request(BREAKOUT))
    assert report == checked(BREAKOUT)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("np.set_printoptions(); np.array2string(np.DataSource)", "DataSource"),
        ("[0] * 10**10", "MemoryError"),
        ("print('not in the report')", ""),
    ],
)
def test_the_process_stops_what_must_not_be(code: str, words: str) -> None:
    source = breakout(signals=f"{code}\n        upper, lower = self.channel(ohlcv)\n        return self.say")
    report = strategy_checker()(request(source))
    found = "; ".join(f"{one.value} {one.expected}" for one in report.findings)
    assert report.passed is (words == "")
    assert words in found


REACHES_OUT = """
import ctypes, os, socket
from strategies.python.confine import Limits, NotAllowed, confine

refused = confine(Limits())
for attempt in (
    lambda: open("/etc/hostname"),
    lambda: open("/tmp/candlewick-was-here", "w"),
    lambda: os.open("/tmp/candlewick-was-here", os.O_CREAT | os.O_WRONLY),
    lambda: open(os.__file__, "a"),
    lambda: open(os.path.dirname(os.__file__) + "/../../../etc/x.py"),
    lambda: socket.socket(),
    lambda: os.system("true"),
    lambda: os.fork(),
    lambda: os.kill(os.getpid(), 0),
    lambda: os.unlink("/tmp/candlewick-was-here"),
    lambda: os.posix_spawn("/bin/true", ["true"], {}),
    lambda: ctypes.CDLL(None),
):
    try:
        attempt()
    except NotAllowed:
        continue
    raise SystemExit("went through")
assert len(refused) == 12
open(os.__file__).close()
"""


@pytest.mark.integration
def test_a_confined_process_reaches_nothing_but_code() -> None:
    subprocess.run([sys.executable, "-c", REACHES_OUT], check=True, timeout=60)


@pytest.mark.integration
def test_a_check_that_does_not_end_is_ended() -> None:
    source = breakout(imports="import numpy as np\nwhile True:\n    pass\n")
    checker = ProcessChecker(strategy_checker()._command, limits=Limits(wall_s=4.0))
    report = checker(request(source))
    assert not report.passed
    assert "no end after 4 s" in report.findings[0].value


def test_generated_candles_make_strategies_speak() -> None:
    strategy = load_source(BREAKOUT, "f", name="f")
    codes = codes_on(strategy.signals, generated_candles(Timeframe.M15, 3_000))
    assert np.count_nonzero(codes) > 100
