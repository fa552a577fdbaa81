// Reads a history that `cim export --car` wrote, as somebody would who has the JavaScript
// implementation of IPLD and docs/format/car.md, and believes nothing: it recomputes every CID,
// finds the order of the log from the root, walks every stream from its head to version 1, and
// recomputes the tree. Prints what it found as JSON; ends with 1 if there is a fault.
//
// usage: npm install @ipld/car @ipld/dag-cbor multiformats
//        node read_history.mjs FILE [ORDER_FILE]
//
// Into ORDER_FILE goes the log as it was found, one CID a line.

import { createHash } from 'node:crypto'
import { createReadStream, writeFileSync } from 'node:fs'
import { CarBlockIterator } from '@ipld/car'
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const PAGE = 4096
const faults = []
const fault = (kind, place) => faults.push({ kind, place })
const same = (a, b) => Buffer.compare(a, b) === 0
const isLink = (value) => CID.asCID(value) !== null
const isCount = (value) => Number.isSafeInteger(value) && value >= 0

const textHash = (parts) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** RFC 6962, section 2.1, word for word. */
const treeHead = (leaves) => {
  if (leaves.length === 0) return textHash([])
  if (leaves.length === 1) return textHash([[0], leaves[0]].map(Buffer.from))
  let split = 1
  while (split * 2 < leaves.length) split *= 2
  const halves = [leaves.slice(0, split), leaves.slice(split)].map(treeHead)
  return textHash([Buffer.from([1]), ...halves])
}

/** Every block of the file that is what its CID says, by CID, in the order of the file. */
const readBlocks = async (path) => {
  const blocks = new Map()
  const iterator = await CarBlockIterator.fromIterable(createReadStream(path))
  const roots = await iterator.getRoots()
  for await (const { cid, bytes } of iterator) {
    const place = `block ${blocks.size + 1}, ${cid}`
    if (cid.version !== 1 || cid.code !== dagCbor.code || cid.multihash.code !== sha256.code) {
      fault('another kind of CID', place)
      continue
    }
    const actual = CID.createV1(dagCbor.code, await sha256.digest(bytes))
    if (!actual.equals(cid)) fault('the block is not what its CID says', place)
    if (blocks.has(`${cid}`)) fault('the block is there twice', place)
    let value
    try {
      value = dagCbor.decode(bytes)
      if (!same(dagCbor.encode(value), bytes)) fault('another encoding of the same value', place)
    } catch (error) {
      fault(`no DAG-CBOR: ${error.message}`, place)
    }
    blocks.set(`${cid}`, { cid, value, isUsed: false })
  }
  return { roots, blocks }
}

/** Looks up a block that must be there, and be of use once only. */
const take = (blocks, cid, what) => {
  const block = blocks.get(`${cid}`)
  if (block === undefined) {
    fault('missing', `${what}, ${cid}`)
    return undefined
  }
  if (block.isUsed) {
    fault('used twice', `${what}, ${cid}`)
    return undefined
  }
  block.isUsed = true
  return block.value ?? undefined
}

/** What a chain of blocks holds under `name`, from its first block to its last. */
const followBack = (blocks, last, name) => {
  const found = []
  for (let next = last; next !== undefined;) {
    const block = take(blocks, next, `a block of ${name}`)
    if (block === undefined) break
    const entries = block[name]
    const known = Object.keys(block).every((key) => key === 'prev' || key === name)
    const fits = Array.isArray(entries) && entries.length >= 1 && entries.length <= PAGE
    if (!known || !fits || (block.prev !== undefined && !isLink(block.prev))) {
      fault(`not a block of ${name}`, `${next}`)
      break
    }
    found.push(entries)
    next = block.prev
  }
  found.reverse()
  if (found.slice(0, -1).some((entries) => entries.length !== PAGE)) {
    fault('a block before the last one is not full', name)
  }
  return found.flat()
}

/** Walks one stream from its head to version 1. */
const walkStream = (blocks, name, version, head) => {
  const at = (version) => `${name}@${version}`
  let next = head
  for (let expected = version; expected >= 1; expected -= 1) {
    if (next === undefined) {
      fault('the chain ends too early', at(expected + 1))
      return
    }
    const event = take(blocks, next, at(expected))
    if (event === undefined) return
    if (event.v !== 1) fault('another format', at(expected))
    if (event.stream !== name) fault(`an event of ${event.stream}`, at(expected))
    if (event.version !== expected) fault(`the event has version ${event.version}`, at(expected))
    if (event.prev !== undefined && !isLink(event.prev)) fault('prev is no link', at(expected))
    next = event.prev
  }
  if (next !== undefined) fault('version 1 has an event before it', at(1))
}

/** Each stream's last event, as the log has it. */
const headsOf = (log, blocks) => {
  const heads = new Map()
  for (const [index, cid] of log.entries()) {
    const event = blocks.get(`${cid}`)?.value
    if (event === undefined) {
      fault('missing', `event ${index + 1} of the log, ${cid}`)
      continue
    }
    const expected = (heads.get(event.stream)?.version ?? 0) + 1
    if (event.version !== expected) {
      fault(`version ${expected} was next in the log`, `${event.stream}@${event.version}`)
    }
    heads.set(event.stream, { version: event.version, cid: `${cid}` })
  }
  return heads
}

/** Counts commits whose events stand together, all of them and in order. */
const wholeCommits = (log, blocks) => {
  let whole = 0
  let open = { id: '', next: 0, count: 0 }
  const close = () => {
    if (open.next !== open.count) fault('the commit is not whole', `commit ${open.id}`)
    else if (open.count > 0) whole += 1
  }
  for (const cid of log) {
    const event = blocks.get(`${cid}`)?.value
    if (event === undefined) continue
    const id = Buffer.from(event.commit).toString('hex')
    if (id !== open.id || open.next === open.count) {
      close()
      open = { id, next: 0, count: event.count }
    }
    if (event.index !== open.next || event.count !== open.count) {
      fault('out of order in its commit', `${event.stream}@${event.version}`)
    }
    open.next += 1
  }
  close()
  return whole
}

const isRoot = (root) =>
  root?.v === 1 && root.tree instanceof Uint8Array && root.tree.length === 32 &&
  isCount(root.events) && isCount(root.streams) &&
  [root.log, root.heads].every((link) => link === undefined || isLink(link)) &&
  (root.pattern === undefined || typeof root.pattern === 'string') &&
  Object.keys(root).every((key) =>
    ['v', 'log', 'tree', 'heads', 'events', 'pattern', 'streams'].includes(key))

const compare = (what, told, found) => {
  if (`${told}` !== `${found}`) fault(`${what}: the root says ${told}`, `found ${found}`)
}

const check = async (path, orderPath) => {
  const { roots, blocks } = await readBlocks(path)
  if (roots.length !== 1) {
    fault('one root was expected', `found ${roots.length}`)
    return {}
  }
  const root = take(blocks, roots[0], 'the root')
  if (!isRoot(root)) {
    fault('not the root of a history', `${roots[0]}`)
    return {}
  }

  const log = followBack(blocks, root.log, 'events')
  const heads = followBack(blocks, root.heads, 'heads')
  const found = headsOf(log, blocks)
  compare('events', root.events, log.length)
  compare('streams', root.streams, found.size)
  compare('heads', root.streams, heads.length)
  for (const [name, version, cid] of heads) {
    const head = found.get(name)
    if (head === undefined) fault('a stream without events', name)
    else if (head.version !== version || head.cid !== `${cid}`) {
      fault(`the log ends it with version ${head.version}, ${head.cid}`, `${name}@${version}`)
    }
    walkStream(blocks, name, version, cid)
  }
  const names = heads.map(([name]) => Buffer.from(name))
  if (names.some((name, index) => index > 0 && Buffer.compare(names[index - 1], name) >= 0)) {
    fault('the heads are not in order', 'heads')
  }
  // In base64, as checkpoints have it.
  const tree = treeHead(log.map((cid) => cid.bytes)).toString('base64')
  compare('tree', Buffer.from(root.tree).toString('base64'), tree)
  // A pattern may take some of a commit's streams and leave others.
  const commits = root.pattern === undefined ? wholeCommits(log, blocks) : undefined

  const unused = [...blocks.values()].filter((block) => !block.isUsed)
  for (const { cid } of unused) fault('nothing leads to this block', `${cid}`)
  const order = log.map((cid) => `${cid}`)
  const inFile = [...blocks.keys()].filter((cid) => blocks.get(cid).value?.stream !== undefined)
  if (inFile.some((cid, index) => cid !== order[index])) {
    fault('the events are not in the order of the log', 'the file')
  }
  if (orderPath !== undefined) writeFileSync(orderPath, order.map((cid) => `${cid}\n`).join(''))
  return {
    root: `${roots[0]}`,
    events: log.length,
    commits,
    streams: found.size,
    tree,
    blocks: blocks.size,
    heads: Object.fromEntries(found),
  }
}

const [path, orderPath] = process.argv.slice(2)
let found = {}
try {
  found = await check(path, orderPath)
} catch (error) {
  fault(`not readable: ${error.message}`, path)
}
process.stdout.write(`${JSON.stringify({ ...found, faults }, null, 2)}\n`)
process.exitCode = faults.length === 0 ? 0 : 1
