"""The bots' manager: a runner process for each part of the bots, brought back when it dies."""

from __future__ import annotations

import sys

from app.installation import Installation, RunningServices
from app.supervisor import ChildSpec, RestartPolicy, Supervisor
from bots.shards import Shard

# A runner that dies may have a bot in hand that kills it; after its third death in a row that bot is set
# aside, so no pause needs to be long.
_LOOP_PAUSE_S = 5.0


async def run_bot_shards(installation: Installation, services: RunningServices, runners: int) -> None:
    """Keep that many runner processes going until told to end."""
    environment = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    supervisor = Supervisor(
        [_spec(Shard(number=number, of=runners), environment) for number in range(runners)],
        logs=installation.logs,
        report_file=installation.bots_file,
        policy=lambda: RestartPolicy(first_s=0.2, longest_s=2.0, loop_pause_s=_LOOP_PAUSE_S),
    )
    await supervisor.run()


def _spec(shard: Shard, environment: dict[str, str]) -> ChildSpec:
    place = f"{shard.number + 1}/{shard.of}"
    return ChildSpec(
        name=shard.name,
        argv=[sys.executable, "-m", "app", "bots", "run", "--shard", place],
        env=environment,
    )
