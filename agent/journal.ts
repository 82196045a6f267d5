/**
 * What must survive a restart: a log of entries behind a snapshot, each entry with its length and checksum.
 *
 * An append resolves when it is fsynced. `note` is for entries that may be lost: they ride with the next append, which comes at once. After a
 * failed append the end of the log cannot be trusted, so nothing is appended before a fresh snapshot of the whole state is on the disk; till
 * then appends are refused with the disk's own words, and noted entries are let go, since the snapshot will hold what they say.
 * Invariant: the log of generation g follows the snapshot of generation g; any other log is left over and ignored.
 */
import { crc32 } from 'node:zlib'
import { decode, encode } from '../protocol/codec.ts'
import { type Fault, fault, reasonOf } from './fault.ts'
import type { Entry, Found, Journal } from './view.ts'
import type { Clock, Disk, Log } from './world.ts'

export interface JournalOptions {
  readonly disk: Disk
  readonly clock: Clock
  readonly log: Log
}

const snapshotName = 'state.snapshot'
/** The log may grow to the size of the snapshot, and at least to this: a start reads twice the state at most. */
const logBytesMin = 1024 * 1024
/** A full disk is tried again this often: an operator frees space in minutes, and each try writes the state whole. */
const retryMs = 5_000

interface Waiting {
  readonly entries: readonly Entry[]
  readonly done: ((error?: Fault) => void) | undefined
}

export async function openJournal({ disk, clock, log }: JournalOptions): Promise<Journal> {
  const loaded = await load(disk, log)
  let generation = loaded.generation
  let logBytes = 0
  let snapshotBytes = 0
  let snapshot: (() => Iterable<Entry>) | undefined
  let failure: Fault | undefined
  /** The log's end is not to be trusted: the next write begins with a snapshot. */
  let stale = loaded.found !== 'whole'
  let queue: Waiting[] = []
  let running: Promise<void> | undefined
  let closed = false
  let cancelRetry: (() => void) | undefined

  /** One writer at a time; what arrives meanwhile goes together in the next write. */
  function pump(): Promise<void> {
    running ??= (async () => {
      // One turn later, so that the writes of one burst share an fsync.
      await Promise.resolve()
      while (queue.length > 0) {
        const batch = queue
        queue = []
        await writeBatch(batch)
      }
    })().finally(() => {
      running = undefined
      if (queue.length > 0) void pump()
    })
    return running
  }

  async function writeBatch(batch: readonly Waiting[]): Promise<void> {
    try {
      // The snapshot does not hold what waits in `batch`: a commit changes the state only once it is on the disk.
      if (stale || logBytes > Math.max(logBytesMin, snapshotBytes)) await writeSnapshot()
      const bytes = frames(batch.flatMap((waiting) => waiting.entries))
      if (bytes.length > 0) await disk.append(logName(generation), bytes)
      logBytes += bytes.length
      for (const { done } of batch) done?.()
    } catch (error) {
      const cause = error as Fault
      if (failure?.message !== cause.message)
        log.error('cannot write the journal; serving goes on', { reason: reasonOf(cause) })
      failure = cause
      stale = true
      retryLater()
      for (const { done } of batch) done?.(cause)
    }
  }

  async function writeSnapshot(): Promise<void> {
    if (snapshot === undefined) return
    const next = generation + 1
    // A journal that was broken may have left a log of this number behind.
    await disk.remove(logName(next))
    const bytes = frames([['snapshot', next], ...snapshot(), ['end']])
    await disk.write(snapshotName, bytes)
    const old = generation
    generation = next
    snapshotBytes = bytes.length
    logBytes = 0
    if (failure !== undefined) log.info('the journal can be written again')
    failure = undefined
    stale = false
    await disk.remove(logName(old))
  }

  function retryLater(): void {
    if (closed) return
    cancelRetry?.()
    cancelRetry = clock.after(retryMs, () => enqueue({ entries: [], done: undefined }))
  }

  function enqueue(waiting: Waiting): void {
    queue.push(waiting)
    void pump()
  }

  function append(entries: readonly Entry[]): Promise<void> {
    if (closed) return Promise.reject(fault('unavailable', 'The journal is closed: this agent is stopping'))
    return new Promise((resolve, reject) => {
      enqueue({ entries, done: (error) => (error === undefined ? resolve() : reject(error)) })
    })
  }

  async function drain(): Promise<void> {
    while (running !== undefined) await running
  }

  return {
    found: loaded.found,
    entries: loaded.entries,
    async begin(how) {
      snapshot = how
      // A failure is logged and tried again; the node goes on without its disk.
      if (stale) await append([]).catch(() => undefined)
    },
    append,
    note(entries) {
      if (closed || failure !== undefined || entries.length === 0) return
      enqueue({ entries, done: undefined })
    },
    failing: () => failure?.message,
    flush: drain,
    async close() {
      await drain()
      closed = true
      cancelRetry?.()
    },
  }
}

interface Loaded {
  readonly found: Found
  readonly generation: number
  readonly entries: readonly Entry[]
}

async function load(disk: Disk, log: Log): Promise<Loaded> {
  const bytes = await disk.read(snapshotName)
  if (bytes === undefined) return { found: 'new', generation: 0, entries: [] }
  const { entries, whole } = parseFrames(bytes)
  const [first, last] = [entries[0], entries.at(-1)]
  if (!whole || first?.[0] !== 'snapshot' || typeof first[1] !== 'number' || last?.[0] !== 'end') {
    const aside = await disk.setAside(snapshotName)
    log.error('the journal is broken; it is set aside and the state comes from the other members', { aside })
    return { found: 'broken', generation: 0, entries: [] }
  }
  const generation = first[1]
  const tail = parseFrames((await disk.read(logName(generation))) ?? new Uint8Array())
  if (!tail.whole) log.warn('the end of the journal was torn; it is cut there', { entries: tail.entries.length })
  return { found: tail.whole ? 'whole' : 'cut', generation, entries: [...entries.slice(1, -1), ...tail.entries] }
}

function logName(generation: number): string {
  return `state.log-${generation}`
}

/** Length and CRC-32 of the payload, 4 bytes each, then the payload. */
function frames(entries: readonly Entry[]): Uint8Array {
  const payloads = entries.map((entry) => encode(entry))
  const bytes = new Uint8Array(payloads.reduce((sum, payload) => sum + payload.length + 8, 0))
  const numbers = new DataView(bytes.buffer)
  let at = 0
  for (const payload of payloads) {
    numbers.setUint32(at, payload.length)
    numbers.setUint32(at + 4, crc32(payload))
    bytes.set(payload, at + 8)
    at += payload.length + 8
  }
  return bytes
}

function parseFrames(bytes: Uint8Array): { readonly entries: readonly Entry[]; readonly whole: boolean } {
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const entries: Entry[] = []
  let at = 0
  while (at + 8 <= bytes.length) {
    const length = numbers.getUint32(at)
    const payload = bytes.subarray(at + 8, at + 8 + length)
    if (payload.length !== length || crc32(payload) !== numbers.getUint32(at + 4)) break
    const decoded = decode(payload)
    if (decoded.kind !== 'ok' || !Array.isArray(decoded.value)) break
    entries.push(decoded.value as unknown as Entry)
    at += length + 8
  }
  return { entries, whole: at === bytes.length }
}
