"""The look-ahead proof of a strategy, as a job."""

from __future__ import annotations

import msgspec

from app.job_kinds.context import JobContext
from app.job_kinds.strategies import NamedStrategy, named_strategies
from app.processes.strategy_check import strategy_checker
from app.strategy_desk import prove_rules
from data.errors import InvalidInput
from jobs.arguments import ProofArguments
from jobs.model import JobResult, ResultKind
from strategies.loader import parse_strategy
from strategies.python.check import CheckRequest
from strategies.python.checker import problems_of
from strategies.python.source import read_source
from strategies.versions import Badge, StrategyKind


def run(arguments: ProofArguments, context: JobContext) -> JobResult:
    """Prove it; a refuted strategy is a result as well. Raises InvalidInput for one that cannot be read."""
    context.tell(0, 1, "proving")
    with named_strategies(context) as strategies:
        named = strategies.find(arguments.strategy)
    badge = _python_badge(named) if _is_python(named) else _rules_badge(named)
    context.tell(1, 1, "proving")
    reference = arguments.strategy if named.saved is None else named.reference
    return JobResult(kind=ResultKind.BADGE, reference=reference, summary=msgspec.to_builtins(badge))


def _is_python(named: NamedStrategy) -> bool:
    if named.saved is not None:
        return named.saved.kind is StrategyKind.PYTHON
    return named.file is not None and named.file.suffix == ".py"


def _rules_badge(named: NamedStrategy) -> Badge:
    return prove_rules(parse_strategy(named.document(), named.reference))


def _python_badge(named: NamedStrategy) -> Badge:
    if named.saved is not None:
        source, name = named.saved.content, named.saved.name
    else:
        assert named.file is not None
        source, name = read_source(named.file), named.file.stem
    report = strategy_checker()(CheckRequest(source=source, where=named.reference, name=name))
    if report.badge is None:
        raise InvalidInput(*problems_of(report, named.reference))
    return report.badge
