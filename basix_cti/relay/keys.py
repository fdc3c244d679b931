"""What stands in Redis, and the scripts that change it. All that has to happen at once is one script.

================  ========  =================================================================================
key               type      holds
================  ========  =================================================================================
``lease``         string    ``EPOCH IDENTITY HOLDER``: who holds the connection; ends by itself
``standby``       string    who waits to take over; ends by itself
``epoch``         string    the latest epoch
``events``        stream    what the PBX told, entry ``EPOCH-SEQUENCE``; bounded
``session``       hash      the present session at the PBX, and the position in ``events`` that the picture is of
``picture:…``     hash      for each element: its objects, as :mod:`~basix_cti.relay.codec` writes them
``ended``         sorted    channels that ended a while ago
``commands:…``    list      for each epoch: commands that wait for its holder
================  ========  =================================================================================

An epoch is the tenure of one holder on one connection to Redis: microseconds since the epoch of Unix, and always
greater than each epoch before. So none comes twice, even if Redis has lost or forgotten some of its data.
"""

from __future__ import annotations

import re

__all__ = ["ACQUIRE", "FENCED", "FORMAT", "JOIN", "PUSH", "Keys"]

FORMAT = "1"  # of what stands there; another one is not read

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


class Keys:
    """The names of all keys of one relay.

    Args:
        name: the relay's.

    Raises:
        ValueError: it is no name.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"a relay's name has 1 to 64 letters, digits, '_', '.', '@' or '-'; this is {name!r}")
        base = f"{{basix-cti:{name}}}:"  # the braces keep all keys on one node of a cluster
        self.lease = f"{base}lease"
        self.standby = f"{base}standby"
        self.epoch = f"{base}epoch"
        self.events = f"{base}events"
        self.session = f"{base}session"
        self.pictures = f"{base}picture:"
        self.ended = f"{base}ended"
        self._commands = f"{base}commands:"

    def picture(self, element: str) -> str:
        """The hash with the objects of one element."""
        return f"{self.pictures}{element}"

    def commands(self, epoch: int | str) -> str:
        """The list of an epoch: whoever still waits at that of an earlier one takes no command away."""
        return f"{self._commands}{epoch}"


# KEYS: lease, standby, epoch, events, session, ended
# ARGV: "IDENTITY HOLDER", the lease's milliseconds, an epoch to start from, what the names of pictures and of lists of
# commands start with
# Gives {1, "EPOCH IDENTITY HOLDER", ended}, or {0, the other's lease}.
# It begins with a write that needs no memory, after which a Redis that is full lets the others be done, too.
ACQUIRE = """
redis.call('DEL', KEYS[2])
local held = redis.call('GET', KEYS[1])
if held and string.match(held, '^%d+ (.*)$') ~= ARGV[1] then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
  return {0, held}
end
local time = redis.call('TIME')
local top = 0
if redis.call('EXISTS', KEYS[4]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[4])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then top = tonumber(string.match(info[i + 1], '^(%d+)')) end
  end
end
local latest = tonumber(redis.call('GET', KEYS[3]) or '0')
local epoch = string.format('%.0f', math.max(latest + 1, top + 1, tonumber(ARGV[3]), time[1] * 1000000 + time[2]))
for _, told in ipairs(cjson.decode(redis.call('HGET', KEYS[5], 'elements') or '[]')) do
  redis.call('DEL', ARGV[4] .. told[1])
end
redis.call('DEL', KEYS[5], ARGV[5] .. string.format('%.0f', latest))
redis.call('SET', KEYS[3], epoch)
local lease = epoch .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], lease, 'PX', ARGV[2])
return {1, lease, redis.call('ZRANGE', KEYS[6], 0, -1)}
"""

# Redis commands, done only while the lease is the caller's, and together.
# KEYS: lease, standby, and all keys of the commands, and others that are to stay
# ARGV: the lease's text, its milliseconds, how many seconds these keys stay; then for each command how many words it
# has, and these
# Gives 0 if the lease is not the caller's, 1 if it is, 2 if somebody waits for it, too.
FENCED = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local i = 4
while i <= #ARGV do
  local last = i + tonumber(ARGV[i])
  redis.call(unpack(ARGV, i + 1, last))
  i = last + 1
end
for k = 3, #KEYS do redis.call('EXPIRE', KEYS[k], ARGV[3]) end
return 1 + redis.call('EXISTS', KEYS[2])
"""

# KEYS: lease, session, ended
# ARGV: what the names of pictures start with
# Gives {} without a lease, {lease, ttl} without a session in its epoch, or {lease, ttl, session, ended, {picture, …}};
# the session and each picture are names and values in turn, ttl is of the lease, in milliseconds.
JOIN = """
local lease = redis.call('GET', KEYS[1])
if not lease then return {} end
local ttl = redis.call('PTTL', KEYS[1])
if redis.call('HGET', KEYS[2], 'epoch') ~= string.match(lease, '^(%d+)') then return {lease, ttl} end
local pictures = {}
for i, told in ipairs(cjson.decode(redis.call('HGET', KEYS[2], 'elements') or '[]')) do
  pictures[i] = redis.call('HGETALL', ARGV[1] .. told[1])
end
local ended = redis.call('ZRANGE', KEYS[3], 0, -1)
return {lease, ttl, redis.call('HGETALL', KEYS[2]), ended, pictures}
"""

# A command for the holder, taken only while its epoch is the caller's.
# KEYS: lease, the epoch's commands
# ARGV: epoch, the command, how many may wait
# Gives 1 if it was taken, 0 if the epoch is another, -1 if too many wait.
PUSH = """
local lease = redis.call('GET', KEYS[1])
if not lease or string.match(lease, '^(%d+)') ~= ARGV[1] then return 0 end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
redis.call('RPUSH', KEYS[2], ARGV[2])
return 1
"""
