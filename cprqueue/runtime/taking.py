"""Take waiting messages off a queue, beside the worker's own consumer, over a channel of one's own.

A message that is taken is neither lost nor doubled. What if the process dies, or is suspended:

* before a message is taken, or half way to it: it waits in the queue. RabbitMQ hands it out and
  notes that in one step, and so does the script for Redis, which kombu's own consumer does not;
* after that: RabbitMQ puts it back as soon as the connection is gone, or silent for two heartbeats
  (consumer_timeout is for consumers alone); Redis after AGAIN_SECONDS;
* after it was acknowledged: it is over. An acknowledgement of what was put back meanwhile does
  nothing on RabbitMQ, whose channel is closed by then; on Redis it ends the message, wherever it is
  then, and that is right, because its work was recorded before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from kombu.transport import redis as kombu_redis

from cprqueue import config

Message = Any
"""kombu's; it ships no types."""

MOST_BYTES = 1_000_000
"""The message with which what was taken gets as large as this is the last: memory stays flat."""

AGAIN_SECONDS = 90
"""Redis gives out again what was not acknowledged after this: longer than a batch takes. Where one
takes longer all the same, its messages are carried out twice, which changes nothing."""

TAKE = """
local taken, bytes = {}, 0
while #taken < tonumber(ARGV[1]) and bytes < tonumber(ARGV[5]) do
  local text = redis.call('LINDEX', KEYS[1], -1)
  if not text or string.find(text, '[\\128-\\255]') then break end
  local readable, message = pcall(cjson.decode, text)
  if not readable or type(message) ~= 'table' then break end
  local headers, properties = message.headers, message.properties
  if type(headers) ~= 'table' or type(properties) ~= 'table' then break end
  local tag = properties.delivery_tag
  if type(tag) ~= 'string' or headers.task ~= ARGV[2] then break end
  if type(headers.eta) == 'string' or type(headers.expires) == 'string' then break end
  if headers.redelivered or properties.body_encoding ~= 'base64' then break end
  local body = message.body
  if type(body) ~= 'string' or #body % 4 > 0 or string.find(body, '[^%w+/=]') then break end
  redis.call('ZADD', KEYS[2], ARGV[3], tag)
  redis.call('HSET', KEYS[3], tag, '[' .. text .. ARGV[4] .. ']')
  redis.call('RPOP', KEYS[1])
  taken[#taken + 1] = text
  bytes = bytes + #text
end
return taken
"""
"""What kombu does for each message in two steps (BRPOP; ZADD and HSET), for many in one.

It ends at the first that is not wanted, or that kombu could not have written, and cannot read: that
one is the consumer's.
"""


class Taking(Protocol):
    """How messages of one task are taken off its queue, and what becomes of them.

    Wanted are those of the task that are to be run now, whenever that is, and that come for the
    first time: a process may have died of one that comes again, and would again with all others.
    """

    def take(self, most: int) -> list[Message]:
        """Take up to so many, and about MOST_BYTES, the oldest first.

        The first that is not wanted stays, and ends it.
        """

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """End these messages: their work is done."""

    def put_back(self, messages: Sequence[Message]) -> None:
        """Let the consumer have these messages, before all that wait."""


class OneByOne:
    """For RabbitMQ: each message is asked for, and put back where it is not wanted."""

    def __init__(self, channel: Any, queue: str, task: str) -> None:
        self._channel, self._queue, self._task = channel, queue, task

    def take(self, most: int) -> list[Message]:
        """Do what ``Taking`` says."""
        found: list[Message] = []
        taken_bytes = 0
        while len(found) < most and taken_bytes < MOST_BYTES:
            message = self._next()
            if message is None:
                break
            if not self._is_wanted(message):
                message.requeue()
                break
            found.append(message)
            taken_bytes += len(message.body or "")
        return found

    def _next(self) -> Message:
        """Ask for one; kombu's own ``Queue.get`` raises for a damaged one, and forgets it."""
        found = self._channel.basic_get(queue=self._queue, no_ack=False)
        return None if found is None else self._channel.message_to_python(found)

    def _is_wanted(self, message: Message) -> bool:
        headers = message.headers or {}
        later = headers.get("eta") or headers.get("expires")
        again = message.delivery_info.get("redelivered")
        return headers.get("task") == self._task and not (message.errors or later or again)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Do what ``Taking`` says."""
        for message in messages:
            message.ack()

    def put_back(self, messages: Sequence[Message]) -> None:
        """Do what ``Taking`` says."""
        for message in reversed(messages):
            message.requeue()


class AtOnce:
    """For Redis and Valkey: all of them by one script, acknowledged in one transaction."""

    def __init__(self, channel: Any, queue: str, task: str) -> None:
        self._channel, self._queue, self._task = channel, queue, task

    def take(self, most: int) -> list[Message]:
        """Do what ``Taking`` says."""
        channel, place = self._channel, json.dumps([self._queue, self._queue])
        keys = (self._queue, channel.unacked_index_key, channel.unacked_key)
        end = f", {place[1:-1]}"  # of [message, exchange, routing key]; both are named as the queue
        with channel.conn_or_acquire() as client:
            known = (most, self._task, self._taken_at(), end, MOST_BYTES)
            found = client.eval(TAKE, len(keys), *keys, *known)
        return [channel.Message(json.loads(text), channel=channel) for text in found]

    def _taken_at(self) -> float:
        """Return the moment to note: kombu gives out again what is older than its timeout."""
        again_seconds = float(config.test_hook("CPR_TEST_AGAIN_SECONDS") or AGAIN_SECONDS)
        timeout_seconds = float(self._channel.visibility_timeout)
        return time.time() - max(0.0, timeout_seconds - again_seconds)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Do what ``Taking`` says."""
        tags = [message.delivery_tag for message in messages]
        channel = self._channel
        with channel.conn_or_acquire() as client, client.pipeline() as pipe:
            pipe.zrem(channel.unacked_index_key, *tags)
            pipe.hdel(channel.unacked_key, *tags)
            pipe.execute()

    def put_back(self, messages: Sequence[Message]) -> None:
        """Do what ``Taking`` says."""
        for message in reversed(messages):
            self._channel.qos.restore_by_tag(message.delivery_tag)


def taking(channel: Any, queue: str, task: str) -> Taking:
    """Return how messages of ``task`` are taken off the queue, on this channel."""
    if isinstance(channel, kombu_redis.Channel):
        return AtOnce(channel, queue, task)
    return OneByOne(channel, queue, task)
