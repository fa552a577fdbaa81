// Writes the blocks of one CAR file into another, in the same order and under the same roots, with
// the JavaScript implementation on both sides.
//
// usage: node copy_blocks.mjs FROM TO

import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { CarBlockIterator, CarWriter } from '@ipld/car'

const [from, to] = process.argv.slice(2)
const blocks = await CarBlockIterator.fromIterable(createReadStream(from))
const { writer, out } = CarWriter.create(await blocks.getRoots())
const written = pipeline(Readable.from(out), createWriteStream(to))
for await (const block of blocks) await writer.put(block)
await writer.close()
await written
