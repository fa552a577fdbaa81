"""Encodes made-up values as DAG-CBOR with the package `dag-cbor`, every kind of value, the same in
every run. Prints each block with its CID, and its value with a word for each kind, as JSON.

usage: python3 write_blocks.py
"""

import json
import random
import struct
import sys

import dag_cbor
from multiformats import CID, multihash

BLOCKS = 300
LETTERS = ["a", "Z", "0", " ", '"', "\\", "/", "\n", "\0", "\x7f", "é", "e\u0301", "你", "\uffff", "😀"]
INTEGERS = [0, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1]
FLOATS = [0.0, 1.0, -1.0, 0.5, 1 / 3, 1e-7, 5e-324, 2.0**53, 1e16, 1e300, 1.7976931348623157e308]

chance = random.Random(20)


def text():
    return "".join(chance.choice(LETTERS) for _ in range(chance.randrange(12)))


def link():
    codec = chance.choice(["dag-cbor", "raw", "dag-json", "dag-pb"])
    return CID("base32", 1, codec, multihash.digest(text().encode(), "sha2-256"))


def value(depth):
    def inner():
        return value(depth - 1)

    kinds = [
        lambda: None,
        lambda: chance.random() < 0.5,
        lambda: chance.choice(INTEGERS),
        lambda: -1 - chance.choice(INTEGERS),
        lambda: chance.choice(FLOATS),
        lambda: -1 / 3 * chance.randrange(1, 1_000_000),
        text,
        lambda: bytes(chance.randrange(256) for _ in range(chance.randrange(40))),
        link,
    ]
    if depth > 0:
        kinds += 3 * [
            lambda: [inner() for _ in range(chance.randrange(6))],
            lambda: {text(): inner() for _ in range(chance.randrange(6))},
        ]
    return chance.choice(kinds)()


def spell(value):
    """JSON has one kind of number, and no bytes and links."""
    if isinstance(value, float):
        return {"float": struct.pack(">d", value).hex()}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"integer": str(value)}
    if isinstance(value, CID):
        return {"link": str(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, list):
        return [spell(item) for item in value]
    if isinstance(value, dict):
        return {"map": {key: spell(item) for key, item in value.items()}}
    return value


blocks = []
for number in range(BLOCKS):
    made = value(0 if number < 60 else 4)
    block = dag_cbor.encode(made)
    cid = CID("base32", 1, "dag-cbor", multihash.digest(block, "sha2-256"))
    blocks.append(
        {
            "cid": str(cid),
            "block": block.hex(),
            "value": spell(made),
        }
    )
json.dump(blocks, sys.stdout)
