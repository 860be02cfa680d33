"""A store on a Valkey or Redis server, for processes of many machines. Needs the extra `valkey`.

Knows the server; knows nothing of what records mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from pointsman.cache.stores.store import MOST_AT_ONCE, Booked
from pointsman.errors import MissingExtraError

_SECONDS_BETWEEN_CLEANINGS = 60.0
# An application that is gone leaves nothing behind; no record is needed for longer than a day.
_SECONDS_KEPT_UNUSED = 2 * 86_400

# One script, so that nothing comes between what is taken and what is handed over. The sequence begins at the clock's
# microseconds: it goes on behind every cursor also after the server has lost its data. The clock's and not the server's
# own, since a script that asks for the time is not replicated before Redis 7.
_EXCHANGE = """
local sequence, order, untils, values = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local since, most, start, bound = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local clean_before, kept = ARGV[5], ARGV[6]

local taken = redis.call('ZRANGEBYSCORE', order, '(' .. since, '+inf', 'LIMIT', 0, most)
local told = {}
if #taken > 0 then
    told = redis.call('HMGET', values, unpack(taken))
    since = redis.call('ZSCORE', order, taken[#taken])
end

if #ARGV > 6 then redis.call('SET', sequence, start, 'NX') end
local last = tonumber(redis.call('GET', sequence) or start)
local new_order, new_untils, new_values, new = {}, {}, {}, {}
local function keep()
    if #new_order > 0 then
        redis.call('ZADD', order, unpack(new_order))
        redis.call('ZADD', untils, unpack(new_untils))
        redis.call('HSET', values, unpack(new_values))
        redis.call('SET', sequence, string.format('%.0f', last))
        new_order, new_untils, new_values, new = {}, {}, {}, {}
    end
end
for at = 7, #ARGV, 3 do
    local subject, until_, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    if new[subject] then keep() end
    local before = redis.call('ZSCORE', untils, subject)
    if not before or tonumber(before) < tonumber(until_) then
        last = last + 1
        local size = #new_order
        new[subject] = true
        new_order[size + 1], new_order[size + 2] = string.format('%.0f', last), subject
        new_untils[size + 1], new_untils[size + 2] = until_, subject
        new_values[size + 1], new_values[size + 2] = subject, value
        if size > 2000 then keep() end
        if #taken < most then since = string.format('%.0f', last) end
    end
end
keep()

local function drop(subjects)
    if #subjects > 0 then
        redis.call('ZREM', order, unpack(subjects))
        redis.call('ZREM', untils, unpack(subjects))
        redis.call('HDEL', values, unpack(subjects))
    end
end
if clean_before ~= '' then
    drop(redis.call('ZRANGEBYSCORE', untils, '-inf', clean_before, 'LIMIT', 0, most))
    for _, key in ipairs(KEYS) do redis.call('EXPIRE', key, kept) end
end
local over = redis.call('ZCARD', order) - bound
if over > 0 then drop(redis.call('ZRANGE', order, 0, math.min(over, most) - 1)) end
return {since, taken, told}
"""


class ValkeyStore:
    """For processes of many machines: a Valkey or Redis server (from 5 on).

    The server's user needs the commands of strings, hashes and sorted sets, EXPIRE, EVALSHA and SCRIPT LOAD.

    Args:
        url: as `valkey.Valkey.from_url` takes it: "valkeys://user:password@host:6379/0" is encrypted.
        prefix: begins the keys of one application; those with another one don't see each other's records.
        timeout: seconds to wait for a connection and for each answer, before the exchange is given up.
        bound: records kept, about 500 bytes each; the oldest go first.
        options: what else `valkey.Valkey.from_url` takes (certificates, credentials).

    Raises:
        MissingExtraError: the package `valkey` is not installed.
    """

    def __init__(
        self, url: str, *, prefix: str = "pointsman", timeout: float = 0.1, bound: int = 65_536, **options: Any
    ) -> None:
        try:
            from valkey import Valkey
        except ImportError as exc:
            raise MissingExtraError("ValkeyStore", "valkey") from exc
        timeouts = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        self._script = Valkey.from_url(url, **{**timeouts, **options}).register_script(_EXCHANGE)
        # In braces, so that a cluster keeps them on one server.
        self._keys = [f"{{{prefix}}}:{name}" for name in ("sequence", "order", "until", "value")]
        self._bound = bound
        self._cleaned = 0.0

    def exchange(self, *, booked: Sequence[Booked], since: str, now: float) -> tuple[Sequence[Booked], str]:
        """As `LedgerStore.exchange`.

        Raises:
            valkey.ValkeyError: the server can't be reached, or refuses.
        """
        cleaning = not 0 <= now - self._cleaned < _SECONDS_BETWEEN_CLEANINGS
        arguments: list[Any] = [since or "0", MOST_AT_ONCE, int(now * 1e6), self._bound]
        arguments += [now if cleaning else "", _SECONDS_KEPT_UNUSED]
        for record in booked:
            value = orjson.dumps((record.until, record.detail))
            arguments += (_packed(record), repr(record.until), value)
        end, subjects, values = self._script(keys=self._keys, args=arguments)
        if cleaning:
            self._cleaned = now
        told = zip(subjects, values, strict=True)
        return [_unpacked(subject, value) for subject, value in told if value is not None], end.decode()


def _packed(record: Booked) -> bytes:
    return orjson.dumps((record.kind, record.model, record.region, record.about.hex()))


def _unpacked(subject: bytes, value: bytes) -> Booked:
    kind, model, region, about = orjson.loads(subject)
    until, detail = orjson.loads(value)
    return Booked(kind, model, region, bytes.fromhex(about), until, detail)
