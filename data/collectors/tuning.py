"""How patient a collector is. The defaults suit the venues; tests hurry them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorTuning:
    """Times in seconds, counts in trades."""

    flush_s: float = 0.2  # how often what came is stored, and forming candles are told
    health_s: float = 1.0
    grace_s: float = 2.0  # how long after an interval's end, by the venue's clock, a trade of it may come
    backoff_first_s: float = 0.5
    backoff_longest_s: float = 30.0
    stable_s: float = 10.0  # a connection that lasted so long was a good one
    connect_timeout_s: float = 10.0
    ack_timeout_s: float = 10.0
    silence_s: float = 15.0  # a stream this quiet is checked against REST
    dead_s: float = 45.0  # a stream without any message at all is given up
    unverified_s: float = 3.0  # after connecting, how long a market may wait for its first live trade
    quiet_s: float = 120.0  # a market this quiet is checked against REST
    deaf_s: float = 2.0  # a trade that REST has must have come on the stream by then
    fill_settle_s: float = 0.3  # missing ids may be on their way, merely out of order
    fill_attempts: int = 4  # how often the venue must say that it lacks an id
    fill_retry_s: float = 1.0  # doubled at each attempt: REST may lag behind the stream
    fill_patience_s: float = 300.0  # how long trades wait for missing ones that cannot be fetched
    max_fill: int = 500_000  # a longer hole is left to the backfill
    max_waiting: int = 200_000  # of one market, for missing ids
    max_in_memory: int = 200_000  # of all markets, while the database cannot answer; the journal has more
    max_unsaved: int = 1_000_000  # the same, when the journal takes none either: then listening stops
    settle_s: float = 5.0  # what is stored stays in the journal so long: a server's crash may undo it
    journal_sync_s: float = 1.0  # how often the disk is waited for while the database cannot answer
    orphans_s: float = 60.0  # after the start; by then every process has taken its own journal
    stalled_s: float = 3.0  # a store that takes so long for one batch is told of
    # A feed is doubted after `feed_pauses` times the usual pause between trades, within these bounds.
    feed_pauses: float = 4.0
    feed_least_s: float = 5.0
    feed_most_s: float = 60.0
    feed_unknown_s: float = 30.0  # while the usual pause is not known yet
    feed_down_s: float = 5.0  # without a connection every feed is stale after this
    feed_asked_s: float = 300.0  # a feed that REST confirms to be quiet is doubted again after this at most
    feed_repeat_s: float = 5.0  # how often a stale feed is told of
    # The venue's own candle is ready, and the clock that says so is asked anew, so long after its end.
    history_settle_s: float = 10.0
    resubscribe_s: float = 60.0  # a topic that was refused, or stays silent, is asked for again
    poll_s: float = 10.0  # how often REST is asked for trades that a stream does not bring
    handover_s: float = 2.0  # how long a connection and its successor both feed
    reload_s: float = 0.5  # how often the settings' file is looked at
    instruments_s: float = 300.0  # how often the venue is asked for its instruments, more or less
    instruments_retry_s: float = 30.0  # after it could not answer, or for a symbol that it does not list
    channel_tell_s: float = 0.25  # how often the newest quote, book and mark of a market is told
    channel_store_s: float = 1.0  # how often it is stored
    max_waiting_candles: int = 20_000  # the venue's own, while the database cannot answer
    save_health_s: float = 10.0
    funding_look_s: float = 1.0  # how often it is looked whether a funding has been paid
    funding_first_s: float = 5.0  # after it was paid, and up to as much more, REST is asked for it
    funding_longest_s: float = 300.0  # between questions for what the venue does not tell yet
    # A payment may have passed unseen after such a silence of a stream: an hour is the least between two.
    funding_silence_s: float = 1_800.0
