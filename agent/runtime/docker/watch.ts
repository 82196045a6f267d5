/**
 * Hears from the engine what ends, and finds it again after it was away: a stream of events that is opened anew with growing waits, without end.
 *
 * Events that came while nobody listened are lost: whoever listens compares at each opening (`onOpened`) what is there with what it knew.
 */
import type { Readable } from 'node:stream'
import { z } from 'zod'
import { reasonOf } from '../../fault.ts'
import type { Cancel, Clock, Log } from '../../world.ts'
import { type Engine, openEngine } from './engine.ts'
import { label } from './labels.ts'
import { jsonLines } from './lines.ts'

/** 100 ms to 5 s: an engine that restarts is away for a second or two, one that is gone is asked for ever. */
const againFirstMs = 100
const againMaxMs = 5_000

export interface WatchOptions {
  readonly socketPath: string
  readonly node: string
  readonly clock: Clock
  readonly log: Log
  /** The engine answers, and what happens from now on will be heard. */
  onOpened(engine: Engine): Promise<void>
  /** A container of ours ended; its labels, and what Docker adds to them. */
  onDied(container: string, attributes: Readonly<Record<string, string>>): void
}

const eventSchema = z.looseObject({
  Action: z.string(),
  Actor: z.looseObject({ ID: z.string(), Attributes: z.record(z.string(), z.string()) }),
})

/** Begins at once with an engine that answered. */
export function watchEngine(options: WatchOptions, first: Engine): { close(): void } {
  const { clock, log } = options
  const ending = new AbortController()
  let waitMs = againFirstMs
  let isTold = false
  let cancel: Cancel = () => {}

  async function listen(engine: Engine): Promise<void> {
    const filters = { type: ['container'], event: ['die'], label: [`${label.node}=${options.node}`] }
    const stream = await engine.docker.getEvents({ filters, abortSignal: ending.signal } as never)
    // Opened is the stream before the look at what is there, so that nothing falls between.
    const heard = hear(stream as unknown as Readable)
    // It may end before it is waited for.
    heard.catch(() => {})
    await options.onOpened(engine)
    if (isTold) log.info('Docker answers again')
    isTold = false
    waitMs = againFirstMs
    await heard
  }

  async function hear(stream: Readable): Promise<void> {
    for await (const line of jsonLines(stream)) {
      const { data: event } = eventSchema.safeParse(line)
      if (event?.Action === 'die') options.onDied(event.Actor.ID, event.Actor.Attributes)
    }
  }

  async function run(engine: Engine | undefined): Promise<void> {
    let why = 'its stream of events ended'
    try {
      await listen(engine ?? (await openEngine(options.socketPath)))
    } catch (thrown) {
      why = reasonOf(thrown)
    }
    if (ending.signal.aborted) return
    if (!isTold) log.warn('Docker does not answer: what runs goes on, nothing new starts', { reason: why })
    isTold = true
    cancel = clock.after(waitMs, () => void run(undefined))
    waitMs = Math.min(againMaxMs, waitMs * 2)
  }

  void run(first)
  return {
    close() {
      cancel()
      ending.abort()
    },
  }
}
