// Virtual time: a queue of what happens when. One event runs at a time, and everything it set going (promises) has come to rest before
// the next one, so a run is a function of what was put in. Never looks at a real clock.

export interface Scheduled {
  /** Undefined when it is called off: what it would have run need not be kept until then. */
  run: (() => void) | undefined
}

export interface SimTime {
  /** Virtual ms since the world began. */
  now(): number
  /** Runs `run` at `atMs`, not before now; events of one moment run in the order they were made. */
  at(atMs: number, run: () => void): Scheduled
  after(ms: number, run: () => void): Scheduled
  /** An event that starts no promises: cheaper, nothing is awaited after it. */
  quietly(ms: number, run: () => void): Scheduled
  /** Lets time pass until `atMs`, or until `stop` says so after an event. */
  runTo(atMs: number, stop?: () => boolean): Promise<void>
  /** Called after each event that may have changed a node. */
  onEvent(listener: () => void): void
  /** How many events ran so far. */
  events(): number
}

interface Event extends Scheduled {
  readonly atMs: number
  readonly order: number
  readonly quiet: boolean
}

export function createTime(): SimTime {
  const heap: Event[] = []
  const listeners: (() => void)[] = []
  let nowMs = 0
  let order = 0
  let ran = 0

  function add(atMs: number, run: () => void, quiet: boolean): Scheduled {
    const event: Event = { atMs: Math.max(atMs, nowMs), order: order++, quiet, run }
    heap.push(event)
    rise(heap, heap.length - 1)
    return event
  }

  async function runTo(atMs: number, stop?: () => boolean): Promise<void> {
    await settled()
    for (;;) {
      const next = heap[0]
      if (next === undefined || next.atMs > atMs) break
      removeFirst(heap)
      const { run } = next
      if (run === undefined) continue
      nowMs = next.atMs
      ran++
      run()
      if (next.quiet) continue
      await settled()
      for (const listener of listeners) listener()
      if (stop?.()) return
    }
    nowMs = Math.max(nowMs, atMs)
  }

  return {
    now: () => nowMs,
    at: (atMs, run) => add(atMs, run, false),
    after: (ms, run) => add(nowMs + ms, run, false),
    quietly: (ms, run) => add(nowMs + ms, run, true),
    runTo,
    onEvent: (listener) => listeners.push(listener),
    events: () => ran,
  }
}

/** Node runs all promise jobs before the next immediate: 1 µs, and nothing is left under way. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

function rise(heap: Event[], from: number): void {
  let at = from
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!isBefore(heap[at]!, heap[parent]!)) return
    swap(heap, at, parent)
    at = parent
  }
}

function removeFirst(heap: Event[]): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  heap[0] = last
  let at = 0
  for (;;) {
    const left = 2 * at + 1
    if (left >= heap.length) return
    const right = left + 1
    const child = right < heap.length && isBefore(heap[right]!, heap[left]!) ? right : left
    if (!isBefore(heap[child]!, heap[at]!)) return
    swap(heap, at, child)
    at = child
  }
}

function swap(heap: Event[], a: number, b: number): void {
  const event = heap[a]!
  heap[a] = heap[b]!
  heap[b] = event
}
