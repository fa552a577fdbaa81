"""Checks checkpoints, proofs and tiles with somebody else's implementation of C2SP.

Reads what to check from standard input, as JSON, and writes what it found to standard output. It
fails where anything does not check, or where something that was altered does.
"""

import base64
import json
import sys

from aics_tlog import (
    Checkpoint,
    FileSystemTileReader,
    audit_tiles,
    format_vkey,
    parse_checkpoint,
    parse_note,
    parse_vkey,
    read_entry,
    sign_checkpoint,
    verify_checkpoint,
    verify_consistency,
    verify_leaf_inclusion,
    vkey_from_ed25519,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def opened(text, key):
    """The checkpoint in a note that the key has signed."""
    result = verify_checkpoint(parse_note(text), key, expected_origin=key.name)
    assert result.ok, result.error
    return parse_checkpoint(parse_note(text).text)


def refused(text, key):
    """Whether a note is refused, as it does not parse or as it does not verify."""
    try:
        return not verify_checkpoint(parse_note(text), key).ok
    except ValueError:
        return True


def hashes(lines):
    return [base64.b64decode(line, validate=True) for line in lines]


def inclusion(proof, key):
    """Checks a c2sp.org/tlog-proof; gives the event's CID and index."""
    header, note = proof.split("\n\n", 1)
    mark, extra, index, *path = header.split("\n")
    assert mark == "c2sp.org/tlog-proof@v1"
    leaf = base64.b64decode(extra.removeprefix("extra "), validate=True)
    index = int(index.removeprefix("index "))
    checkpoint = opened(note, key)
    arguments = (index, checkpoint.size, hashes(path), checkpoint.root)
    assert verify_leaf_inclusion(leaf, *arguments)
    altered = leaf[:-1] + bytes([leaf[-1] ^ 1])
    assert not verify_leaf_inclusion(altered, *arguments)
    return {"leaf": leaf.hex(), "index": index}


def consistency(old, proof, key):
    """Checks the body of an add-checkpoint request against an old checkpoint."""
    header, note = proof.split("\n\n", 1)
    size, *path = header.split("\n")
    old, new = opened(old, key), opened(note, key)
    assert int(size.removeprefix("old ")) == old.size
    sizes = (old.size, new.size)
    assert verify_consistency(*sizes, old.root, new.root, hashes(path))
    assert not verify_consistency(*sizes, new.root, old.root, hashes(path))


def main():
    given = json.load(sys.stdin)
    key = parse_vkey(given["vkey"])
    checkpoints = [opened(text, key) for text in given["checkpoints"]]
    assert all(refused(text, key) for text in given["altered"])

    reader = FileSystemTileReader(given["directory"])
    last = opened((reader.root / "checkpoint").read_text(encoding="utf-8"), key)
    report = audit_tiles(reader, last.size, last.root)
    entries = [read_entry(reader, index, last.size).hex() for index in range(last.size)]

    for case in given["consistency"]:
        consistency(case["old"], case["proof"], key)

    # And back: a checkpoint that is made here.
    secret = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    name = "example.com/theirs"
    theirs = sign_checkpoint(Checkpoint(name, last.size, last.root), secret, name)
    json.dump(
        {
            "checkpoints": [[c.origin, c.size, c.root.hex()] for c in checkpoints],
            "bundles": report.bundles,
            "entries": entries,
            "inclusion": [inclusion(proof, key) for proof in given["inclusion"]],
            "their_note": theirs.serialise(),
            "their_vkey": format_vkey(vkey_from_ed25519(name, secret.public_key())),
        },
        sys.stdout,
    )


main()
