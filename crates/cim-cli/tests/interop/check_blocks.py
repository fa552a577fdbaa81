"""Reads a CAR file of DAG-CBOR blocks with two implementations that share nothing: both must take
every block and agree about its value, and `dag-cbor` must encode it to the same bytes again.
`libipld` can't: it takes a byte string that begins like a CID for a link. The CIDs are recomputed.
Prints the CIDs in the order of the file, and what is wrong, as JSON.

usage: python3 check_blocks.py FILE
"""

import json
import sys

import dag_cbor
import libipld
from dag_cbor.decoding import CBORDecodingError
from multiformats import CID, multihash, varint


def read_varint(data, at):
    number, length, _ = varint.decode_raw(data[at : at + 9])
    return number, at + length


def sections(data):
    """The binary CID and the bytes of each block; https://ipld.io/specs/transport/car/carv1/."""
    header, at = read_varint(data, 0)
    at += header
    while at < len(data):
        length, at = read_varint(data, at)
        end = at + length
        if end > len(data):
            raise ValueError("the last block is cut")
        digest = at
        for _ in ("version", "codec", "hash function"):
            _, digest = read_varint(data, digest)
        size, digest = read_varint(data, digest)
        yield data[at : digest + size], data[digest + size : end]
        at = end


def plain(value):
    """A value with links as libipld has them: their CID's bytes."""
    if isinstance(value, CID):
        return bytes(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def faults_of(cid, block):
    digest = multihash.digest(block, "sha2-256")
    if bytes(CID("base32", 1, "dag-cbor", digest)) != cid:
        yield "the block is not what its CID says"
    try:
        value = dag_cbor.decode(block)
        if dag_cbor.encode(value) != block:
            yield "dag-cbor encodes it differently"
        if repr(plain(value)) != repr(libipld.decode_dag_cbor(block)):
            yield "dag-cbor and libipld read different values"
    except (CBORDecodingError, ValueError) as error:
        yield f"no DAG-CBOR: {error}"


def main(path):
    with open(path, "rb") as file:
        data = file.read()
    cids, faults = [], []
    try:
        for cid, block in sections(data):
            cids.append(cid)
            text = libipld.encode_cid(cid)
            faults += [{"kind": fault, "place": text} for fault in faults_of(cid, block)]
        if faults == [] and set(libipld.decode_car(data)[1]) != set(cids):
            faults.append({"kind": "libipld finds other blocks", "place": path})
    except ValueError as error:
        faults.append({"kind": str(error), "place": path})
    json.dump({"cids": [libipld.encode_cid(cid) for cid in cids], "faults": faults}, sys.stdout)
    return 0 if faults == [] else 1


sys.exit(main(*sys.argv[1:]))
