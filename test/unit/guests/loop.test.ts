// The loop over a view of maps, containers that the test sets, and a data plane that writes down what it is told.
import { beforeEach, expect, test } from 'vitest'
import type { Container } from '../../../agent/core/guests.ts'
import type { Stamped } from '../../../agent/core/view.ts'
import { fault } from '../../../agent/fault.ts'
import { createGuestLoop, type GuestLoop } from '../../../agent/loops/guests.ts'
import type { Clock, JoinRequest, Log, Writer } from '../../../agent/world.ts'
import type { GuestValue } from '../../../protocol/model.ts'
import { until } from '../../until.ts'
import { at, guest, member, network, stamped, view } from '../placement/build.ts'

const wish = { aliases: ['cache'], address: undefined, unknown: undefined }
const plain = network('net', '10.0.1.0/24')
const net = { ...plain, value: { ...plain.value, spec: { Name: 'net', Attachable: true } } }

let guests: Map<string, Stamped<GuestValue>>
let containers: Map<string, Container>
let joined: Map<string, JoinRequest>
let warned: string[]
let timers: (() => void)[]
/** undefined: nobody listens to the engine. */
let tell: ((container: string | undefined) => void) | undefined
let lose: (guest: string, why: string) => void
let refusal: string | undefined
let silence: string | undefined
let servers: readonly string[]
let loop: GuestLoop

beforeEach(() => {
  guests = new Map()
  containers = new Map()
  joined = new Map()
  warned = []
  timers = []
  tell = undefined
  refusal = undefined
  silence = undefined
  servers = ['192.0.2.53']
  let count = 0
  const quiet = () => {}
  const log: Log = {
    debug: quiet,
    info: quiet,
    error: quiet,
    warn: (_, fields) => warned.push(String(fields?.trouble)),
  }
  const put: Writer['put'] = ({ id, value }) => {
    if (value === null) guests.delete(id)
    else guests.set(id, stamped(id, value as GuestValue))
    return at(0)
  }
  const clock: Pick<Clock, 'after'> = {
    after(_, task) {
      timers.push(task)
      return () => {}
    },
  }
  loop = createGuestLoop({
    view: { ...view({ members: [member('n1', { value: { dataplane: 'linux' } })], networks: [net] }), guests },
    writer: { put },
    dataplane: {
      async join(request) {
        if (refusal !== undefined) throw fault('unavailable', refusal)
        joined.set(request.guest, request)
        return { resolver: '10.0.1.1:10100', servers }
      },
      detach: async (id) => void joined.delete(id),
      onLost: (listener) => {
        lose = listener
      },
    },
    containers: {
      async find(name) {
        if (silence !== undefined) throw fault('unavailable', silence)
        return [...containers.values()].find((one) => one.id === name || one.name === name)
      },
      watch(listener) {
        tell = listener
        return () => {
          tell = undefined
        }
      },
    },
    clock: clock as Clock,
    random: { next: () => 0, bytes: () => new Uint8Array(16).fill(++count) },
    log,
    events: { emit: quiet },
    stamp: () => at(++count),
  })
  run('box', 7)
})

function run(name: string, pid: number | undefined, networks: readonly string[] = ['bridge']): void {
  const id = `c-${name}`
  containers.set(id, { id, name, pid, namespace: 'own', networks, dns: [], isTask: false })
}

const only = () => [...guests.values()][0]?.value
const pids = () => [...joined.values()].map(({ pid }) => pid)

test('a container is connected with its names and an address, and nobody listens to the engine before and after', async () => {
  await loop.start()
  expect(tell).toBeUndefined()
  expect(await loop.connect(net, 'box', wish)).toEqual([])
  expect(only()).toMatchObject({ container: 'c-box', name: 'box', aliases: ['cache'], address: expect.any(String) })
  expect([...joined.values()]).toMatchObject([
    { address: only()?.address, pid: 7, asks: undefined, takesWayOut: false },
  ])
  expect(tell).toBeDefined()
  await loop.disconnect(net, 'box')
  expect([guests.size, joined.size, tell]).toEqual([0, 0, undefined])
})

test('what cannot be connected leaves nothing, and whoever asked hears why', async () => {
  await loop.start()
  await expect(loop.connect(net, 'none', wish)).rejects.toMatchObject({ code: 'not-found' })
  refusal = 'no cable'
  await expect(loop.connect(net, 'box', wish)).rejects.toThrow('no cable')
  await expect(loop.disconnect(net, 'box')).rejects.toMatchObject({ code: 'not-found' })
  expect([guests.size, joined.size]).toEqual([0, 0])
})

test('one whose questions cannot be led to us is connected with a warning', async () => {
  servers = []
  expect(await loop.connect(net, 'box', wish)).toEqual([expect.stringContaining('do not find names')])
})

test('one with no other network takes the way out; one on a network of its engine keeps its resolver', async () => {
  run('bare', 8, ['none'])
  run('near', 9, ['shop'])
  await loop.connect(net, 'bare', wish)
  await loop.connect(net, 'near', wish)
  const [bare, near] = [...joined.values()]
  expect([bare?.takesWayOut, bare?.asks, near?.takesWayOut, near?.asks]).toEqual([true, undefined, false, []])
})

test('has neither address nor cable while its container does not run, is back when it does, and goes with it', async () => {
  await loop.start()
  await loop.connect(net, 'box', wish)
  run('box', undefined)
  tell?.('c-other')
  tell?.('c-box')
  await until(() => joined.size === 0, { deadlineMs: 1_000, what: 'it to be taken off' })
  expect(only()).toMatchObject({ name: 'box' })
  expect(only()?.address).toBeUndefined()
  run('box', 9)
  tell?.(undefined)
  await until(() => pids()[0] === 9, { deadlineMs: 1_000, what: 'it to be back' })
  expect(only()?.address).toBeDefined()
  containers.clear()
  tell?.('c-box')
  await until(() => guests.size + joined.size === 0, { deadlineMs: 1_000, what: 'it to be forgotten' })
})

test('one that was made is connected when it starts', async () => {
  run('made', undefined)
  loop.expect('net', { id: 'c-made', name: 'made' }, wish)
  await until(() => tell !== undefined, { deadlineMs: 1_000, what: 'the engine to be listened to' })
  expect(joined.size).toBe(0)
  run('made', 5)
  tell?.('c-made')
  await until(() => pids()[0] === 5, { deadlineMs: 1_000, what: 'it to be connected' })
})

test('an agent that starts takes over what runs, at the address that it has', async () => {
  guests.set('g', guest('g', { container: 'c-box', name: 'box', address: '10.0.1.99' }))
  guests.set('h', guest('h', { container: 'c-gone', address: '10.0.1.98' }))
  await loop.start()
  expect([...joined.keys()]).toEqual(['g'])
  expect(only()?.address).toBe('10.0.1.99')
  expect(guests.size).toBe(1)
})

test('an engine that says nothing changes nothing, is told once, and is asked again', async () => {
  guests.set('g', guest('g', { container: 'c-box', address: '10.0.1.99' }))
  silence = 'no engine'
  await loop.start()
  timers.splice(0).forEach((task) => void task())
  await until(() => timers.length > 0, { deadlineMs: 1_000, what: 'it to be asked again' })
  expect([guests.size, warned]).toEqual([1, ['no engine']])
  silence = undefined
  timers.splice(0).forEach((task) => void task())
  await until(() => joined.size === 1, { deadlineMs: 1_000, what: 'it to be taken over' })
})

test('one whose network another program took away is connected again', async () => {
  await loop.start()
  await loop.connect(net, 'box', wish)
  const [id = ''] = joined.keys()
  joined.clear()
  lose('a task of a service', 'gone')
  lose(id, 'gone')
  await until(() => joined.has(id), { deadlineMs: 1_000, what: 'it to be connected again' })
})

test('an agent that leaves takes all off', async () => {
  await loop.connect(net, 'box', wish)
  await loop.leave()
  expect([guests.size, joined.size, tell]).toEqual([0, 0, undefined])
})
