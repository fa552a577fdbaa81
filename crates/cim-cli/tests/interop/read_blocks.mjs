// Reads a CAR file of blocks in DAG-CBOR, DAG-JSON and raw bytes: recomputes every CID, decodes
// every block, and encodes it again. Prints each block's CID, its value as DAG-JSON, and what is
// wrong with it.
//
// usage: node read_blocks.mjs FILE

import { createReadStream } from 'node:fs'
import { CarReader } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { sha256 } from 'multiformats/hashes/sha2'

const codecs = new Map([dagCbor, dagJson, raw].map((codec) => [codec.code, codec]))

const read = async ({ cid, bytes }) => {
  const codec = codecs.get(cid.code)
  const faults = []
  if (!CID.createV1(codec.code, await sha256.digest(bytes)).equals(cid)) {
    faults.push('the block is not what its CID says')
  }
  let value
  try {
    const decoded = codec.decode(bytes)
    value = Buffer.from(dagJson.encode(decoded)).toString()
    const again = codec.encode(decoded)
    if (Buffer.compare(again, bytes) !== 0) {
      faults.push(`another encoding of the same value: ${Buffer.from(again).toString('base64')}`)
    }
  } catch (error) {
    faults.push(error.message)
  }
  return { cid: `${cid}`, codec: codec.name, value, faults }
}

const reader = await CarReader.fromIterable(createReadStream(process.argv[2]))
const roots = (await reader.getRoots()).map((root) => `${root}`)
const blocks = []
for await (const block of reader.blocks()) blocks.push(await read(block))
process.stdout.write(JSON.stringify({ version: reader.version, roots, blocks }))
