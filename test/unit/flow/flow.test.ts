// The flow state machine: what each end may rely on, and what breaks the protocol.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { windowBytes } from '../../../protocol/flow.ts'
import { frameTypes, Outbox, outboxBytes } from '../../../protocol/flow-frames.ts'
import { limits } from '../../../protocol/limits.ts'
import { End, opened, type Probe, pair, pattern } from './pair.ts'

test('a flow is open when the other end accepts, and not before', () => {
  const ends = pair()
  const near = ends.a.open()
  ends.settle()
  expect(near.accepted).toBe(false)
  ends.b.taken[0]!.flow!.accept()
  ends.settle()
  expect(near.accepted).toBe(true)
})

test('a refused flow is reset with the reason, and forgotten at both ends', () => {
  const ends = pair()
  ends.b.refuse = 'not-member'
  const near = ends.a.open()
  ends.settle()
  expect(near.reset).toBe('not-member')
  expect(ends.a.mux.flows.size + ends.b.mux.flows.size).toBe(0)
})

test('each direction ends by itself, after its last byte', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  near.flow!.send(pattern(100_000))
  near.flow!.end()
  ends.settle()
  expect(far.received).toHaveLength(100_000)
  expect([far.ended, far.closed, near.closed]).toEqual([true, false, false])
  far.flow!.send(pattern(10))
  far.flow!.end()
  ends.settle()
  expect(near.received).toHaveLength(10)
  expect([near.closed, far.closed]).toEqual([true, true])
  expect(ends.a.mux.flows.size + ends.b.mux.flows.size).toBe(0)
})

test('a receiver that does not consume stops the sender after one window, and consuming lets it go on', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  expect(near.flow!.send(pattern(windowBytes + 1_000))).toBe(false)
  ends.settle()
  expect(far.received).toHaveLength(windowBytes)
  expect(near.writable).toBe(0)
  far.consume()
  ends.settle()
  expect(far.received).toHaveLength(windowBytes + 1_000)
  expect(near.writable).toBe(1)
})

test('a stuck flow stops no other', () => {
  const ends = pair()
  const stuck = opened(ends)
  const free = opened(ends)
  stuck.near.flow!.send(pattern(2 * windowBytes))
  free.near.flow!.send(pattern(1_000))
  ends.settle()
  expect(free.far.received).toHaveLength(1_000)
})

test('a direction that ends while bytes wait ends after them', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  near.flow!.send(pattern(2 * windowBytes + 5))
  near.flow!.end()
  for (let round = 0; round < 5; round++) {
    ends.settle()
    far.consume()
  }
  expect([far.received.length, far.ended]).toEqual([2 * windowBytes + 5, true])
  expect(Buffer.from(far.received).equals(Buffer.from(pattern(2 * windowBytes + 5)))).toBe(true)
})

test('a flow that is stopped in the middle of a send goes on from there', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  ends.a.blockWhenFull = true
  expect(near.flow!.send(pattern(400_000))).toBe(false)
  for (let round = 0; round < 5; round++) {
    ends.settle()
    ends.a.mux.unblock()
  }
  ends.settle()
  expect(Buffer.from(far.received).equals(Buffer.from(pattern(400_000)))).toBe(true)
})

test('a flow that is reset while it waits for the connection is not remembered', () => {
  const ends = pair()
  const { near } = opened(ends)
  ends.a.mux.blocked = true
  near.flow!.send(pattern(10))
  near.flow!.reset('cancelled')
  expect(ends.a.mux.waiting.size).toBe(0)
})

test('a blocked connection keeps what is sent, and flows go on in their order', () => {
  const ends = pair()
  const one = opened(ends)
  const two = opened(ends)
  ends.a.mux.blocked = true
  expect(one.near.flow!.send(pattern(10))).toBe(false)
  expect(two.near.flow!.send(pattern(20))).toBe(false)
  ends.settle()
  expect(one.far.received).toHaveLength(0)
  ends.a.mux.unblock()
  ends.settle()
  expect([one.far.received.length, two.far.received.length]).toEqual([10, 20])
  expect([one.near.writable, two.near.writable]).toEqual([1, 1])
})

test('frames for a flow that was reset a moment ago mean nothing', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  far.flow!.send(pattern(100))
  near.flow!.reset('cancelled')
  ends.settle()
  expect([ends.a.violation, ends.b.violation]).toEqual([undefined, undefined])
  expect(far.reset).toBe('cancelled')
})

test('a lost connection resets every flow once', () => {
  const ends = pair()
  const { near } = opened(ends)
  const waiting = ends.a.open()
  ends.a.mux.lose('node-lost')
  expect([near.reset, waiting.reset]).toEqual(['node-lost', 'node-lost'])
  expect(ends.a.mux.flows.size).toBe(0)
})

test('datagrams come whole, one by one, and are dropped rather than kept when the connection is full', () => {
  const ends = pair()
  const { near, far } = opened(ends)
  expect(near.flow!.datagram(new TextEncoder().encode('one'))).toBe(true)
  ends.a.mux.blocked = true
  expect(near.flow!.datagram(new TextEncoder().encode('two'))).toBe(false)
  ends.a.mux.unblock()
  near.flow!.datagram(new Uint8Array(0))
  near.flow!.datagram(new Uint8Array(limits.datagramBytesMax).fill(65))
  near.flow!.datagram(new Uint8Array(40_000).fill(66))
  for (let i = 0; i < 80; i++) ends.a.deliver(ends.b, 1_999)
  expect(far.datagrams.map((d) => d.length)).toEqual([3, 0, limits.datagramBytesMax, 40_000])
})

test('a ping is answered', () => {
  const ends = pair()
  ends.a.mux.ping()
  ends.settle()
  expect(ends.a.pongs).toBe(1)
})

const doings = [
  'open',
  'accept',
  'consume',
  'block',
  'unblock',
  'end',
  'reset',
  'send',
  'send',
  'send',
  'deliver',
  'deliver',
] as const

const act = fc.record({
  do: fc.constantFrom(...doings),
  /** Which flow of this end. */
  at: fc.nat(2),
  side: fc.constantFrom(0, 1),
  /** For send and deliver. */
  bytes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 900_000 })),
})

test('no interleaving loses, doubles or reorders a byte, oversteps a window, or leaves a flow behind', () => {
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), (acts) => {
      const ends = pair()
      const sides = [ends.a, ends.b] as const
      /** Every probe with what its flow has been given to send. */
      const probes: { probe: Probe; sent: number; ending: boolean; end: End }[] = []
      const known = (end: End) => {
        for (const probe of end.taken) {
          if (!probes.some((p) => p.probe === probe)) probes.push({ probe, sent: 0, ending: false, end })
        }
        return probes.filter((p) => p.end === end)
      }
      for (const step of acts) {
        const end = sides[step.side as 0 | 1]
        const own = known(end)
        const one = own[step.at % Math.max(own.length, 1)]
        const open = one?.probe.flow?.accepted === true
        if (step.do === 'open') probes.push({ probe: end.open(), sent: 0, ending: false, end })
        else if (step.do === 'deliver') end.deliver(sides[step.side === 0 ? 1 : 0], step.bytes)
        else if (step.do === 'block') {
          end.blockWhenFull = true
          end.mux.blocked = step.bytes % 2 === 0
        } else if (step.do === 'unblock') end.mux.unblock()
        else if (step.do === 'accept') end.taken[step.at]?.flow?.accept()
        else if (one === undefined || !open) continue
        else if (step.do === 'consume') one.probe.consume()
        else if (step.do === 'reset') {
          if (step.bytes % 4 === 0) one.probe.flow!.reset('cancelled')
        } else if (step.do === 'end') {
          one.probe.flow!.end()
          one.ending = true
        } else if (!one.ending) {
          one.probe.flow!.send(pattern(step.bytes, one.sent))
          one.sent += step.bytes
        }
        expect([ends.a.violation, ends.b.violation]).toEqual([undefined, undefined])
      }
      // Everything is let go: all that was sent arrives, and every flow ends.
      for (const end of sides) {
        end.blockWhenFull = false
        end.mux.unblock()
      }
      for (let round = 0; round < 60; round++) {
        ends.settle()
        for (const end of sides) {
          for (const one of known(end)) {
            if (end.taken.includes(one.probe)) one.probe.flow!.accept()
            one.probe.consume()
            if (one.probe.flow!.accepted) one.probe.flow!.end()
          }
        }
      }
      expect([ends.a.violation, ends.b.violation]).toEqual([undefined, undefined])
      for (const { probe, sent, end } of probes) {
        const other = end === ends.a ? ends.b : ends.a
        const twin = probes.find((p) => p.end === other && p.probe.flow!.id === probe.flow!.id)!
        expect(probe.flow!.over).toBe(true)
        if (!probe.closed || !twin.probe.closed) continue
        expect(Buffer.from(twin.probe.received).equals(Buffer.from(pattern(sent)))).toBe(true)
      }
      expect(ends.a.mux.flows.size + ends.b.mux.flows.size).toBe(0)
      expect(ends.a.mux.waiting.size + ends.b.mux.waiting.size).toBe(0)
    }),
    { numRuns: 150 },
  )
})

function frame(
  type: number,
  flow: number,
  payload: Uint8Array = new Uint8Array(0),
  length = payload.length,
): Uint8Array {
  const head = [type, 0, length >> 8, length & 255, flow >>> 24, (flow >> 16) & 255, (flow >> 8) & 255, flow & 255]
  return Uint8Array.from([...head, ...payload])
}

test.for([
  ['an unknown type', frame(77, 1)],
  ['type zero', frame(0, 1)],
  ['an empty OPEN', frame(frameTypes.open, 1)],
  ['an OPEN that is too long', frame(frameTypes.open, 1, new Uint8Array(0), 513)],
  ['an OPEN with an id of the wrong end', frame(frameTypes.open, 2, Uint8Array.of(1))],
  ['DATA for a flow that never was', frame(frameTypes.data, 9, Uint8Array.of(1))],
  ['a frame for flow 0', frame(frameTypes.fin, 0)],
  ['DATA beyond a frame', frame(frameTypes.data, 1, new Uint8Array(0), limits.flowDataBytesMax + 1)],
  ['empty DATA', frame(frameTypes.data, 1)],
  ['a WINDOW of three bytes', frame(frameTypes.window, 1, new Uint8Array(3))],
] as const)('%s ends the connection', ([, bytes]) => {
  expect(new End('acceptor').mux.receive(bytes)).toBeTypeOf('string')
})

test.for([
  ['a second OPEN of one id', frame(frameTypes.open, 1, Uint8Array.of(1))],
  ['ACCEPTED by the end that asked', frame(frameTypes.accepted, 1)],
  ['DATA before ACCEPTED', frame(frameTypes.data, 1, Uint8Array.of(1))],
  ['FIN before ACCEPTED', frame(frameTypes.fin, 1)],
  ['credit beyond the window', frame(frameTypes.window, 1, Uint8Array.of(0, 0, 0, 1))],
  ['credit of nothing', frame(frameTypes.window, 1, Uint8Array.of(0, 0, 0, 0))],
] as const)('%s ends the connection, of a flow that waits', ([, bytes]) => {
  const end = new End('acceptor')
  expect(end.mux.receive(frame(frameTypes.open, 1, Uint8Array.of(1)))).toBe(undefined)
  expect(end.mux.receive(bytes)).toBeTypeOf('string')
})

test('a sender that ignores its credit ends the connection', () => {
  const ends = pair()
  const { far } = opened(ends)
  const chunk = frame(frameTypes.data, 1, pattern(limits.flowDataBytesMax))
  let violation: string | undefined
  for (let sent = 0; sent <= windowBytes && violation === undefined; sent += limits.flowDataBytesMax) {
    violation = ends.b.mux.receive(chunk)
  }
  expect(violation).toMatch(/beyond its credit/)
  expect(far.received).toHaveLength(windowBytes)
})

test('no bytes make a receiver throw', () => {
  const openFrame = frame(frameTypes.open, 1, Uint8Array.of(1))
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc
            .tuple(fc.integer({ min: 0, max: 10 }), fc.nat(4), fc.uint8Array({ maxLength: 20 }))
            .map(([type, flow, payload]) => frame(type, flow, payload)),
        ),
        { maxLength: 20 },
      ),
      (chunks) => {
        const end = new End('acceptor')
        let violation = end.mux.receive(openFrame)
        for (const chunk of chunks) {
          if (violation !== undefined) return
          violation = end.mux.receive(chunk)
          end.taken.at(-1)?.flow?.accept()
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('an outbox hands over whole frames, and wakes its owner once for many', () => {
  let woken = 0
  const sizes: number[] = []
  const outbox = new Outbox(
    new Uint8Array(outboxBytes),
    (_buffer, used) => {
      sizes.push(used)
      return new Uint8Array(outboxBytes)
    },
    () => {
      woken++
    },
  )
  for (let i = 0; i < 9; i++) outbox.put(frameTypes.data, 1, new Uint8Array(16_376))
  expect(sizes).toEqual([8 * 16_384])
  outbox.flush()
  expect(sizes).toEqual([8 * 16_384, 16_384])
  expect(woken).toBe(2)
})
