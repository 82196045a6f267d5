/**
 * Requests and answers over one channel, told apart by number. Owns the callers that wait; every one of them gets an answer, a time-out or
 * 'unavailable'. How long an answer is awaited is the caller's choice, how many are served at once is bounded here.
 */
import { limits } from '../../protocol/limits.ts'
import { fault, reasonOf } from '../fault.ts'
import type { Cancel, Clock } from '../world.ts'
import type { Channel } from './channel.ts'
import { encodeFrame, frameKinds } from './frames.ts'

export interface RequestsOptions {
  readonly channel: Channel
  readonly clock: Clock
  /** The peer's name for sentences. */
  readonly name: () => string
  readonly serve: (kind: string, bytes: Uint8Array) => Promise<Uint8Array>
  /** Something was dropped: too many requests, an answer too large or to nobody. */
  readonly dropped: (what: string) => void
}

export interface Requests {
  ask(kind: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array>
  onRequest(body: Uint8Array): void
  onAnswer(body: Uint8Array, ok: boolean): void
  /** Fails all callers that wait. */
  end(): void
}

interface Waiting {
  readonly resolve: (bytes: Uint8Array) => void
  readonly reject: (error: unknown) => void
  readonly cancel: Cancel
}

/** A kind is a word; 255 fit in its length byte. */
const kindBytesMax = 64
const failureTextMax = 500

export function requests(options: RequestsOptions): Requests {
  const { channel, clock } = options
  const waiting = new Map<number, Waiting>()
  let last = 0
  let serving = 0
  let ended = false

  function ask(kind: string, bytes: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const name = Buffer.from(kind)
    if (name.length > kindBytesMax || bytes.length > limits.requestBytesMax) {
      return Promise.reject(fault('invalid', `A request of ${bytes.length} bytes is too large`))
    }
    if (ended) return Promise.reject(gone())
    last = (last + 1) >>> 0
    const number = last
    return new Promise((resolve, reject) => {
      const cancel = clock.after(timeoutMs, () => {
        waiting.delete(number)
        reject(fault('timeout', `${options.name()} did not answer within ${timeoutMs} ms`))
      })
      waiting.set(number, { resolve, reject, cancel })
      const head = Uint8Array.of(name.length)
      if (channel.send(encodeFrame(frameKinds.request, numberBytes(number), head, name, bytes))) return
      settle(number)?.reject(fault('unavailable', `${options.name()} does not keep up: its queue here is full`))
    })
  }

  function onRequest(body: Uint8Array): void {
    const number = numberOf(body)
    const kindBytes = body[4]
    if (number === undefined || kindBytes === undefined || body.length < 5 + kindBytes) {
      channel.close('a malformed request')
      return
    }
    if (serving >= limits.requestsPerPeerMax) {
      options.dropped('requests')
      reply(frameKinds.failure, number, Buffer.from('too many requests at once'))
      return
    }
    const kind = Buffer.from(body.subarray(5, 5 + kindBytes)).toString()
    serving++
    answerOf(kind, body.subarray(5 + kindBytes))
      .then(
        (answer) => {
          if (answer.length <= limits.requestBytesMax) reply(frameKinds.answer, number, answer)
          else reply(frameKinds.failure, number, Buffer.from(`the answer has ${answer.length} bytes, too many`))
        },
        (error) => reply(frameKinds.failure, number, Buffer.from(reasonOf(error).slice(0, failureTextMax))),
      )
      .finally(() => serving--)
  }

  /** A handler that throws at once fails like one that rejects. */
  async function answerOf(kind: string, bytes: Uint8Array): Promise<Uint8Array> {
    return options.serve(kind, bytes)
  }

  function reply(kind: typeof frameKinds.answer | typeof frameKinds.failure, number: number, bytes: Uint8Array): void {
    if (!ended && !channel.send(encodeFrame(kind, numberBytes(number), bytes))) options.dropped('answers')
  }

  function onAnswer(body: Uint8Array, ok: boolean): void {
    const number = numberOf(body)
    const caller = number === undefined ? undefined : settle(number)
    if (caller === undefined) options.dropped('late answers')
    else if (ok) caller.resolve(body.subarray(4))
    else caller.reject(fault('unavailable', `${options.name()}: ${Buffer.from(body.subarray(4)).toString()}`))
  }

  function settle(number: number): Waiting | undefined {
    const caller = waiting.get(number)
    if (caller === undefined) return undefined
    waiting.delete(number)
    caller.cancel()
    return caller
  }

  function end(): void {
    ended = true
    for (const number of [...waiting.keys()]) settle(number)?.reject(gone())
  }

  function gone(): Error {
    return fault('unavailable', `The connection to ${options.name()} is closed`)
  }

  return { ask, onRequest, onAnswer, end }
}

function numberBytes(number: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number)
  return bytes
}

function numberOf(body: Uint8Array): number | undefined {
  return body.length < 4 ? undefined : new DataView(body.buffer, body.byteOffset).getUint32(0)
}
