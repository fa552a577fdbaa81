"""Reads every event of a log as somebody would who has never seen this library: messages with
nats-py, CloudEvents with the `cloudevents` package. Prints a JSON list, in the order of the log.

usage: python3 read_events.py URL USER PASSWORD JETSTREAM_STREAM
"""

import asyncio
import base64
import datetime
import json
import sys

import nats
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

WAIT = 20  # seconds


def parse(headers, body):
    event = from_http_event(HTTPMessage(headers=dict(headers), body=body))
    attributes = {
        name: value.isoformat() if isinstance(value, datetime.datetime) else value
        for name, value in event.get_attributes().items()
    }
    data = event.get_data()
    if isinstance(data, bytes):
        data = {"base64": base64.b64encode(data).decode()}
    return {"attributes": attributes, "data": data}


async def main(url, user, password, stream):
    client = await nats.connect(url, user=user, password=password)
    jetstream = client.jetstream()
    subscription = await jetstream.subscribe(
        "cim.events.>", stream=stream, ordered_consumer=True
    )
    events = []
    pending = 1
    while pending > 0:
        message = await subscription.next_msg(timeout=WAIT)
        pending = message.metadata.num_pending
        event = parse(message.headers, message.data)
        # One message by its subject must be the same event.
        single = await jetstream.get_last_msg(stream, message.subject, direct=True)
        if parse(single.headers, single.data) != event:
            sys.exit(f"{message.subject}: got by its subject, it is another event")
        event["subject"] = message.subject
        event["sequence"] = message.metadata.sequence.stream
        events.append(event)
    await client.close()
    json.dump(events, sys.stdout)


asyncio.run(main(*sys.argv[1:]))
