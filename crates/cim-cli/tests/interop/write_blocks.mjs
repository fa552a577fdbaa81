// Writes made-up blocks into a CAR file with the JavaScript implementation: every kind of value, in
// DAG-CBOR, DAG-JSON and as raw bytes, linked with each other, under several roots. The same file
// is wrapped as a CARv2, which that implementation reads and does not write. Prints what a reader
// must find, with values as DAG-JSON. The same in every run.
//
// usage: node write_blocks.mjs CARV1 CARV2

import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarReader, CarWriter } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { identity } from 'multiformats/hashes/identity'
import { sha256 } from 'multiformats/hashes/sha2'

const BLOCKS = 300

/** A linear congruential generator: the numbers need not be good, only always the same. */
let state = 0x2545f491
const below = (count) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * count)
}
const one = (choices) => choices[below(choices.length)]
const many = (count, make) => Array.from({ length: below(count) }, make)

const INTEGERS = [
  0, 1, 23, 24, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER,
  2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n,
  -1, -24, -25, -256, -257, -65536, -65537, -(2 ** 32), -(2n ** 53n), -(2n ** 63n), -(2n ** 64n),
]
// A number without a fraction is an integer in JavaScript, below 2^53.
const FRACTIONS = [0.5, -0.1, 1 / 3, 1e-7, 5e-324, 2.5e-10, -1234567.875, 1e300, Number.MAX_VALUE]
// No U+E000 to U+FFFF: keys with them stand in the order of UTF-16 here, and not of UTF-8.
const LETTERS = ['a', 'Z', '0', ' ', '"', '\\', '/', '\n', '\u0000', '\u001f', '\u007f', 'é',
  'e\u0301', 'ß', '你', '\u2028', '😀']
const text = () => many(12, () => one(LETTERS)).join('')
const bytes = () => Uint8Array.from(many(40, () => below(256)))

// Links that lead out of the file, one of each kind of CID.
const OUTSIDE = [
  CID.parse('QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG'),
  CID.createV1(raw.code, identity.digest(Uint8Array.from([1, 2, 3]))),
  CID.parse('bafyreignqnulch3bh57s6wrxel2ngbivefhyb2l7oxdbpt7kyyqa62mgbe'),
]

const value = (depth, links) => {
  const inner = () => value(depth - 1, links)
  const simple = [
    () => null,
    () => below(2) === 1,
    () => one(INTEGERS),
    () => below(1_000_000) - 500_000,
    () => one(FRACTIONS),
    text,
    bytes,
    () => one(links),
  ]
  const nested = [
    () => many(6, inner),
    // A map with the one key "/" means a link or bytes in DAG-JSON.
    () => Object.fromEntries(many(6, () => [`${below(30)}${text()}`, inner()])),
  ]
  return one(depth > 0 ? [...simple, ...nested, ...nested] : simple)()
}

const blocks = []
const expected = []
const put = async (codec, value) => {
  const bytes = codec.encode(value)
  const cid = CID.createV1(codec.code, await sha256.digest(bytes))
  if (blocks.some((block) => block.cid.equals(cid))) return
  blocks.push({ cid, bytes })
  const json = Buffer.from(dagJson.encode(value)).toString()
  expected.push({ cid: `${cid}`, codec: codec.name, value: json })
}

await put(raw, new Uint8Array(0))
for (const codec of [dagCbor, dagJson]) {
  for (const simple of [...INTEGERS, ...FRACTIONS, null, true, false, '', [], {}]) {
    await put(codec, simple)
  }
  await put(codec, LETTERS.join(''))
  await put(codec, Object.fromEntries(LETTERS.slice(1).map((letter) => [`${letter}.`, letter])))
  await put(codec, Object.fromEntries(['b', 'aa', 'a', '', '__proto__', '2', '10'].map((k) => [k, 1])))
}
while (blocks.length < BLOCKS) {
  const links = [...OUTSIDE, ...blocks.slice(-20).map(({ cid }) => cid)]
  if (below(8) === 0) await put(raw, bytes())
  else await put(one([dagCbor, dagJson]), value(4, links))
}

const [v1, v2] = process.argv.slice(2)
const roots = [blocks.at(-1).cid, blocks[0].cid, blocks[7].cid]
const { writer, out } = CarWriter.create(roots)
const written = pipeline(Readable.from(out), createWriteStream(v1))
for (const block of blocks) await writer.put(block)
await writer.close()
await written

// https://ipld.io/specs/transport/car/carv2/: a pragma, 40 bytes about what follows, here some
// padding, the CARv1, and what would be an index.
const inner = readFileSync(v1)
const pragma = Buffer.from('0aa16776657273696f6e02', 'hex')
const header = Buffer.alloc(40)
const padding = Buffer.alloc(13)
header.writeBigUInt64LE(BigInt(pragma.length + header.length + padding.length), 16)
header.writeBigUInt64LE(BigInt(inner.length), 24)
writeFileSync(v2, Buffer.concat([pragma, header, padding, inner]))
const { version } = await CarReader.fromIterable(createReadStream(v2))
if (version !== 2) throw new Error(`the wrapped file is read as version ${version}`)

process.stdout.write(JSON.stringify({ roots: roots.map((root) => `${root}`), blocks: expected }))
