// The linux data plane as a whole, over devices and a firewall that only write down what they are told.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Overlay } from '../../../agent/core/routes/overlay.ts'
import type { Routes } from '../../../agent/core/routes/types.ts'
import { type Contained, createLinuxDataplane, type LinuxDataplane } from '../../../agent/dataplane/linux/dataplane.ts'
import type { Devices, TaskLinks } from '../../../agent/dataplane/linux/devices.ts'
import type { Firewall, FirewallInput } from '../../../agent/dataplane/linux/firewall.ts'
import { Fault } from '../../../agent/fault.ts'
import type { Attachment, AttachRequest, Clock, Log } from '../../../agent/world.ts'
import { until } from '../../until.ts'

const network = (id: string, second: number) => ({
  id,
  name: id,
  subnet: `10.${second}.0.0/16`,
  gateway: `10.${second}.0.1`,
  internal: false,
  encrypted: false,
  mtu: undefined,
})
const overlay: Overlay = { networks: [network('ingress', 255), network('net', 9)], nodes: [], places: [] }
const routes: Routes = { revision: 1, published: [], services: [], tasks: [], overlay }
const request = (task: string): AttachRequest => ({
  task,
  service: 'web',
  serviceName: 'web',
  slot: '1',
  networks: [
    { network: 'net', address: '10.9.64.2' },
    { network: 'ingress', address: '10.255.64.2' },
  ],
  targets: [{ protocol: 'tcp', target: 80 }],
  fixed: new Map([[80, 8080]]),
})

let dir: string
let made: Map<string, TaskLinks>
let programmed: FirewallInput[]
let forwarded: Map<string, Attachment>
let refusal: string | undefined
/** Networks of the cluster. */
let known: readonly string[]
/** Networks and tasks of the last call for devices. */
let carried: readonly string[]
let plane: LinuxDataplane
let holdFirewall: Promise<void>
let holdDevices: Promise<void>
let underWay: Promise<number>
/** What the devices will say was done to them. */
let steps: string[] = []
let harm: string[]
let timers: (() => void)[]
let nowMs: number
/** What the kernel says to the removal of a task. */
let stays: string | undefined

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'gv-linux-'))
  made = new Map()
  programmed = []
  forwarded = new Map()
  refusal = undefined
  known = ['ingress', 'net']
  holdFirewall = Promise.resolve()
  holdDevices = Promise.resolve()
  underWay = Promise.resolve(0)
  harm = []
  steps = []
  timers = []
  nowMs = 0
  stays = undefined
  const devices: Devices = {
    async apply({ networks }, local) {
      steps.push('devices')
      await holdDevices
      carried = [...networks.map(({ id }) => id), ...local.map(({ task }) => task)]
      return refusal === undefined ? [] : [{ network: 'net', sentence: refusal }]
    },
    netnsOf: () => '/run/netns/none-such',
    async createTask(links) {
      if (refusal !== undefined) throw new Fault('unavailable', refusal)
      made.set(links.task, links)
      return { netns: `/run/netns/gv-${links.task}` }
    },
    async removeTask(task) {
      if (stays !== undefined) throw new Fault('unavailable', stays)
      made.delete(task)
    },
    harm: async () => harm.splice(0),
    bridgeOf: (id) => `vb${id}`,
    known: () => [...made.keys()],
    close: () => {},
  }
  const firewall: Firewall = {
    async apply(input) {
      await holdFirewall
      steps.push('table')
      programmed.push(input)
    },
    routeReplies: async () => void steps.push('replies'),
    lookSoon: () => {},
    close: async () => {},
    counters: () => ({ restored: 0, rewrites: 0, udpForgotten: 0 }),
  }
  const forwarding: Contained = {
    adopt: async (asked: AttachRequest, attachment: Attachment) => void forwarded.set(asked.task, attachment),
    detach: async (task: string) => void forwarded.delete(task),
    apply: async () => [],
    active: () => 0,
    accepts: async () => true,
    onTrouble: () => {},
    close: async () => {},
    hostsFileOf: (task: string) => join(dir, `${task}.hosts`),
  }
  const quiet = () => {}
  const log: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet }
  const clock: Clock = {
    now: () => nowMs,
    wall: () => 0,
    lagMs: () => 0,
    after(_, task) {
      timers.push(task)
      return () => {}
    },
  }
  const addresses = ['192.0.2.1', '127.0.0.1']
  plane = createLinuxDataplane({
    self: 'n1',
    devices,
    firewall,
    forwarding,
    listensIpv6: async () => true,
    underWay: () => underWay,
    clear: async () => void made.clear(),
    takenPorts: () => new Set(),
    addresses,
    encrypted: { device: 'vw0', vxlanPort: 4789 },
    overlay: () => overlay,
    isKnown: (id) => known.includes(id),
    dir,
    clock,
    log,
  })
})

afterEach(() => rmSync(dir, { recursive: true }))

test('the table comes first, since somebody may be gone; replies are routed once the bridge is there that they go by', async () => {
  await plane.apply(routes)
  expect(steps).toEqual(['table', 'devices', 'replies'])
})

test('a table is written while the devices of an earlier one are made, and theirs are made together when these are', async () => {
  let release = () => {}
  holdDevices = new Promise((resolve) => {
    release = resolve
  })
  const obeyed: number[] = []
  const give = (revision: number) => plane.apply({ ...routes, revision }, () => obeyed.push(revision))
  const first = give(1)
  await until(() => steps.includes('devices'), { deadlineMs: 1_000, what: 'the devices to be asked for' })
  const later = [give(2), give(3)]
  await until(() => obeyed.length === 3, { deadlineMs: 1_000, what: 'all tables to be written' })
  expect(steps.filter((step) => step === 'devices')).toHaveLength(1)
  release()
  await Promise.all([first, ...later])
  expect(steps.filter((step) => step === 'devices')).toHaveLength(2)
})

test('a task serves its target ports at its own address, asks 127.0.0.11, and is known to the firewall before it starts', async () => {
  await plane.apply(routes)
  const attachment = await plane.attach(request('t1'))
  const [host, port] = attachment.resolver?.split(':') ?? []
  expect(attachment).toMatchObject({
    host: '10.9.64.2',
    ports: [{ protocol: 'tcp', target: 80, actual: 80 }],
    netns: '/run/netns/gv-t1',
  })
  expect(host).toBe('10.9.0.1')
  expect(readFileSync(attachment.resolvFile ?? '', 'utf8')).toBe('nameserver 127.0.0.11\noptions ndots:0\n')
  expect(programmed.at(-1)?.local).toEqual([
    { task: 't1', links: request('t1').networks, resolver: { host: '10.9.0.1', port: Number(port) } },
  ])
  expect(forwarded.get('t1')).toEqual(attachment)
})

test('two tasks never share a resolver port, and an adopted one keeps its own', async () => {
  await plane.apply(routes)
  const first = await plane.attach(request('t1'))
  const second = await plane.attach(request('t2'))
  expect(second.resolver).not.toBe(first.resolver)
  await plane.adopt(request('t3'), { ...first, resolver: '10.9.0.1:12345' })
  expect(made.get('t3')?.resolver).toEqual({ host: '10.9.0.1', port: 12_345 })
})

test('a task whose network cannot be made leaves nothing behind, and the reason is told', async () => {
  await plane.apply(routes)
  refusal = 'subnet 10.9.0.0/16 overlaps a route of this machine'
  await expect(plane.attach(request('t1'))).rejects.toThrow(refusal)
  expect(made.size).toBe(0)
  expect(forwarded.size).toBe(0)
  expect(programmed.at(-1)?.local).toEqual([])
})

test('a network that fails is told at each service that has a task on it here', async () => {
  await plane.apply(routes)
  await plane.attach(request('t1'))
  refusal = 'VXLAN port 4789 is taken'
  expect(await plane.apply(routes)).toEqual([{ protocol: 'tcp', port: 0, service: 'web', sentence: refusal }])
})

test('a network that fails is told of the node while no task is on it, and not at all once it has been removed', async () => {
  refusal = 'VXLAN port 4789 is taken'
  expect(await plane.apply(routes)).toEqual([{ protocol: 'tcp', port: 0, service: 'net', sentence: refusal }])
  known = ['ingress']
  expect(await plane.apply(routes)).toEqual([])
})

test('a task whose namespace another program took away is named as lost once the routes are applied again; nothing else is', async () => {
  const lost: string[] = []
  let asked = 0
  plane.onLost((task, why) => lost.push(`${task}: ${why}`))
  plane.onHarm(() => {
    asked++
  })
  await plane.apply(routes)
  await plane.attach(request('t1'))
  await plane.apply(routes)
  expect([asked, lost]).toEqual([0, []])
  harm = ['the device vtone is gone']
  for (const look of timers.splice(0)) look()
  await until(() => asked === 1, { deadlineMs: 1_000, what: 'the harm to be told' })
  await plane.apply(routes)
  expect(lost).toEqual(['t1: another program removed its network namespace gv-t1'])
})

test('a detached task is gone from kernel, table and disk', async () => {
  await plane.apply(routes)
  const { resolvFile = '' } = await plane.attach(request('t1'))
  await plane.detach('t1')
  expect(made.size + forwarded.size).toBe(0)
  expect(programmed.at(-1)?.local).toEqual([])
  expect(existsSync(resolvFile)).toBe(false)
})

test('what could not be removed of a task is removed within seconds', async () => {
  await plane.apply(routes)
  await plane.attach(request('t1'))
  stays = 'Device or resource busy'
  await expect(plane.detach('t1')).rejects.toThrow('busy')
  stays = undefined
  let asked = 0
  plane.onHarm(() => {
    asked++
  })
  nowMs += 6_000
  for (const look of timers.splice(0)) look()
  await until(() => asked === 1, { deadlineMs: 1_000, what: 'the routes to be asked for again' })
  await plane.apply({ ...routes, overlay: { ...overlay, places: [] } })
  expect(made.size).toBe(0)
})

test('a network goes with its last task, also when the routes without it came while the task was being removed', async () => {
  await plane.apply(routes)
  await plane.attach(request('t1'))
  const without = { ...routes, overlay: { ...overlay!, networks: [] } }
  await plane.apply(without)
  expect(carried).toEqual(['t1'])
  await plane.detach('t1')
  expect(carried).toEqual([])
})

test('changes that come while the table is being written are written once, together', async () => {
  let release = () => {}
  holdFirewall = new Promise((resolve) => {
    release = resolve
  })
  const first = plane.apply(routes)
  const others = [plane.apply({ ...routes, revision: 2 }), plane.apply({ ...routes, revision: 3 })]
  release()
  await Promise.all([first, ...others])
  expect(programmed.map((input) => input.routes.revision)).toEqual([1, 3])
})

test('before this node is a member, what an earlier run left in the kernel is not touched', async () => {
  const { overlay: _none, ...early } = routes
  expect(await plane.apply(early)).toEqual([])
  expect(programmed).toEqual([])
})

test('a task counts as busy until its sockets have been looked at, then as they say', async () => {
  await plane.apply(routes)
  await plane.attach(request('t1'))
  underWay = Promise.resolve(2)
  expect(plane.active('t1')).toBe(1)
  await underWay
  expect(plane.active('t1')).toBe(2)
  underWay = Promise.resolve(0)
  await underWay
  plane.active('t1')
  await underWay
  expect(plane.active('t1')).toBe(0)
  expect(plane.active('unknown')).toBe(0)
})

const links = (task: string): TaskLinks => ({
  task,
  links: request(task).networks,
  resolver: { host: '10.9.0.1', port: 12_000 },
})

test('what an earlier run made goes, unless its task may be adopted yet', async () => {
  for (const task of ['gone', 'lives']) {
    made.set(task, links(task))
    writeFileSync(join(dir, `${task}.resolv`), '')
  }
  const places = [{ network: 'net', address: '10.9.64.2', task: 'lives', node: 'n1' }]
  await plane.apply({ ...routes, overlay: { ...overlay, places } })
  expect([...made.keys()]).toEqual(['lives'])
  expect(readdirSync(dir)).toEqual(['lives.resolv'])
})

test('an agent that ends leaves its tasks connected, and nothing when it has none', async () => {
  await plane.apply(routes)
  await plane.attach(request('t1'))
  await plane.close()
  expect([...made.keys()]).toEqual(['t1'])
  await plane.detach('t1')
  made.set('stray', links('stray'))
  await plane.close()
  expect(made.size).toBe(0)
})

const joining = (guest: string) => ({
  guest,
  network: 'net',
  address: '10.9.64.9',
  pid: process.pid,
  takesWayOut: false,
})

test('a container that is no task is known to the firewall while it is on a network, and nothing of it stays', async () => {
  await plane.apply(routes)
  const { resolver, servers } = await plane.join!({ ...joining('g1'), asks: ['192.0.2.53', '127.0.0.53', 'fd00::1'] })
  expect([resolver.split(':')[0], servers]).toEqual(['10.9.0.1', ['192.0.2.53']])
  expect(made.get('g1')?.links).toEqual([{ network: 'net', address: '10.9.64.9' }])
  expect(programmed.at(-1)?.local.map(({ task }) => task)).toEqual(['g1'])
  expect([...plane.tasks()]).toEqual(['g1'])
  await plane.detach('g1')
  expect([made.size, programmed.at(-1)?.local]).toEqual([0, []])
})

test('a container that cannot be connected leaves nothing, and neither does one on a network that is not here', async () => {
  await plane.apply(routes)
  await expect(plane.join!({ ...joining('g1'), network: 'other', asks: [] })).rejects.toThrow('other')
  refusal = 'no cable'
  await expect(plane.join!({ ...joining('g1'), asks: [] })).rejects.toThrow('no cable')
  expect([made.size, plane.tasks().size]).toEqual([0, 0])
})
