/** Networks and namespaces of the linux data plane in real kernels: machines.ts gives them, device-steps.ts works on them as an agent does. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Overlay, OverlayNetwork } from '../../agent/core/routes/overlay.ts'
import type { TaskLinks } from '../../agent/dataplane/linux/devices.ts'
import { cableName, namespaceName, taskMac, tunnelName } from '../../agent/dataplane/linux/names.ts'
import type { TaskPlan } from '../../agent/world.ts'
import { noContainer } from '../contract/runtime/harness.ts'
import { needs } from '../needs.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import type { Step, Steps } from './device-steps.ts'
import { createLan, type Machine } from './machines.ts'

const app = 'appnet'.padEnd(25, '0')
const other = 'othernet'.padEnd(25, '0')
const task = (machine: Machine) => `task${machine.name}`.padEnd(25, '0')
const address = (machine: Machine) => `10.0.9.1${machine.name.slice(1)}`

function network(id: string, name: string, subnet: string, more: Partial<OverlayNetwork> = {}): OverlayNetwork {
  const gateway = subnet.replace(/0\/\d+$/, '1')
  return { id, name, subnet, gateway, internal: false, encrypted: false, mtu: undefined, ...more }
}

/** A task on each machine, on both networks. */
function overlayOf(
  machines: readonly Machine[],
  self: Machine,
  networks = [network(app, 'appnet', '10.0.9.0/24')],
): Overlay {
  return {
    networks,
    nodes: machines
      .filter(({ name }) => name !== self.name)
      .map((m) => ({
        node: m.name,
        address: m.address,
        addresses: [m.address],
        dataplane: 'linux',
        dataPathPort: 4789,
      })),
    places: machines.map((m) => ({ network: app, address: address(m), task: task(m), node: m.name })),
  }
}

function linksOf(machine: Machine): TaskLinks {
  return {
    task: task(machine),
    links: [{ network: app, address: address(machine) }],
    resolver: { host: '10.0.9.1', port: 30_001 },
  }
}

/** In a process of its own, as after a restart of the agent. */
async function take(
  machine: Machine,
  overlay: Overlay,
  steps: readonly Step[],
  before = '',
): Promise<readonly unknown[]> {
  const words: Steps = { self: machine.name, underlay: machine.address, overlay, steps }
  const out = await machine.ok(
    `${before} ${process.execPath} ${join(root, 'test/e2e/device-steps.ts')} '${JSON.stringify(words)}'`,
  )
  return out.split('\n').map((line) => JSON.parse(line) as unknown)
}

const netns = (machine: Machine) => `/run/netns/${namespaceName(task(machine), '0badcafe')}`
const inside = (machine: Machine, line: string) => `nsenter --net=${netns(machine)} ${line}`

/** All that the devices are made of, as text. */
const picture = (machine: Machine) =>
  machine.ok(
    'ip -j link; ip -4 -j address; ip -j route; ip -j rule; ip -j neighbour show nud permanent; bridge -j fdb; ip netns',
  )

async function twoMachines(): Promise<readonly [Machine, Machine]> {
  const lan = await createLan()
  const machines = [await lan.add(), await lan.add()] as const
  for (const machine of machines) {
    const made = [{ do: 'apply' }, { do: 'create', links: linksOf(machine) }] as const
    expect(await take(machine, overlayOf(machines, machine), made)).toEqual([[], { netns: netns(machine) }])
  }
  return machines
}

test('a task reaches a task on another machine through the tunnel, routed by both machines, and the size of its packets fits', async () => {
  const [n1, n2] = await twoMachines()
  for (const [from, to] of [
    [n1, n2],
    [n2, n1],
  ] as const) {
    const ping = await from.ok(inside(from, `busybox ping -c 1 -W 2 ${address(to)}`))
    // 64, less one at each of the two machines.
    expect(ping).toContain('ttl=62')
  }
  const counters = JSON.parse(await n1.ok(`ip -j -s link show ${tunnelName(app)}`)) as readonly Tunnel[]
  expect(counters[0]?.stats64.rx.packets).toBeGreaterThanOrEqual(2)
  // 1500 of the cable, less 50: 1450 = 20 (IP) + 8 (ICMP) + 1422; a byte more comes in two pieces.
  for (const [size, made] of [
    [1422, 0],
    [1423, 2],
  ] as const) {
    await n1.ok(inside(n1, `busybox ping -s ${size} -c 1 -W 2 ${address(n2)}`))
    expect(await piecesOf(n1)).toBe(made)
  }
  expect(await n1.ok('nstat -asz IcmpOutRedirects')).toMatch(/IcmpOutRedirects +0 /)
  expect(await n1.ok(inside(n1, 'cat /proc/net/if_inet6'))).not.toContain('eth0')
})

/** Of packets that the task sent. */
async function piecesOf(machine: Machine): Promise<number> {
  const told = await machine.ok(inside(machine, 'nstat -asz IpFragCreates'))
  return Number(/IpFragCreates +(\d+)/.exec(told)?.[1])
}

interface Tunnel {
  readonly stats64: { readonly rx: { readonly packets: number } }
}

test('tasks of one network on one machine reach each other through the host only: no frame goes from task to task', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const second = { ...linksOf(n1), task: 'second'.padEnd(25, '0'), links: [{ network: app, address: '10.0.9.77' }] }
  await take(n1, overlayOf([n1], n1), [
    { do: 'create', links: linksOf(n1) },
    { do: 'create', links: second },
  ])
  expect(await n1.ok(inside(n1, 'busybox ping -c 1 -W 2 10.0.9.77'))).toContain('ttl=63')
  // It asks everybody on the wire; only the host would hear, and that is not its address.
  const asked = await n1.run(inside(n1, 'busybox arping -c 2 -w 2 -I eth0 10.0.9.77'))
  expect(asked.out).toMatch(/Sent [12] probe[\s\S]*Received 0 /)
  // And one that knows the other's hardware address gets nowhere with it.
  const mac = taskMac(second.task, app)
  await n1.ok(inside(n1, 'ip route add 10.0.9.77 dev eth0 scope link'))
  await n1.ok(inside(n1, `ip neighbour replace 10.0.9.77 lladdr ${mac} dev eth0 nud permanent`))
  expect((await n1.run(inside(n1, 'busybox ping -c 1 -W 1 10.0.9.77'))).code).not.toBe(0)
})

test('after a restart everything is found again, and making the same once more changes nothing', async () => {
  const [n1, n2] = await twoMachines()
  const before = await picture(n1)
  const changes: string[] = []
  n1.begin('ip monitor link address route neigh', (line) => changes.push(line))
  let mtu = 60_000
  const tells = async () => {
    mtu += 1
    await n1.ok(`ip link set lo mtu ${mtu}`)
    return changes.some((line) => line.includes(`mtu ${mtu}`))
  }
  await until(tells, { deadlineMs: 5_000, everyMs: 50, what: 'the monitor to begin' })
  const again: readonly Step[] = [{ do: 'apply' }, { do: 'create', links: linksOf(n1) }, { do: 'apply' }]
  await take(n1, overlayOf([n1, n2], n1), again)
  await until(tells, { deadlineMs: 5_000, everyMs: 50, what: 'the monitor to tell' })
  expect((await picture(n1)).replaceAll(/"mtu":6\d+/g, '"mtu":65536')).toBe(before)
  expect(changes.filter((line) => /\bv[bxt]\w{9}\b/.test(line))).toEqual([])
  await n1.ok(inside(n1, `busybox ping -c 1 -W 2 ${address(n2)}`))
})

test('what others changed is made good at the next start, and within a minute: a tunnel, a neighbour, a route that are gone', async () => {
  const [n1, n2] = await twoMachines()
  const steps: readonly Step[] = [{ do: 'apply' }, { do: 'create', links: linksOf(n1) }]
  const ping = inside(n1, `busybox ping -c 1 -W 2 ${address(n2)}`)
  for (const harm of [
    `ip link delete ${tunnelName(app)}`,
    `ip neighbour flush nud permanent`,
    'ip route delete 10.0.9.0/24',
    `ip link delete ${cableName(task(n1), app)}`,
  ]) {
    await n1.ok(harm)
    expect((await n1.run(ping)).code).not.toBe(0)
    await take(n1, overlayOf([n1, n2], n1), steps)
    await n1.ok(ping)
  }
  // And in the life of one agent, within a minute.
  const line = `ip link delete ${tunnelName(app)}; ip neighbour flush nud permanent`
  expect(await take(n1, overlayOf([n1, n2], n1), [{ do: 'apply' }, { do: 'harm', line }, { do: 'apply' }])).toEqual([
    [],
    '',
    [],
  ])
  await n1.ok(ping)
})

test('a hundred starts and stops of a task leave nothing behind, and the last network goes with its tasks', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const fresh = await picture(n1)
  const overlay = overlayOf([n1], n1, [
    network(app, 'appnet', '10.0.9.0/24'),
    network(other, 'othernet', '10.0.8.0/24'),
  ])
  const { task: id, links, resolver } = linksOf(n1)
  const both = { task: id, links: [...links, { network: other, address: '10.0.8.77' }], resolver }
  await take(n1, overlay, [{ do: 'cycle', links: both, times: 100 }, { do: 'apply nothing' }])
  // Also one that was only just found in the kernel, and is not taken for there when the next task comes.
  const cycle: Step = { do: 'cycle', links: both, times: 1 }
  const found = await take(n1, overlay, [cycle, { do: 'harm', line: '' }, { do: 'apply nothing' }, cycle])
  expect(found).toEqual([null, '', [], null])
  await take(n1, overlay, [{ do: 'apply nothing' }])
  expect(withoutTimes(await picture(n1))).toBe(withoutTimes(fresh))
})

const withoutTimes = (text: string) => text.replaceAll(/"\w+_life_time":\d+/g, '')

test('an agent that is killed at any moment leaves nothing that is not found and removed', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const fresh = withoutTimes(await picture(n1))
  const steps: readonly Step[] = [{ do: 'cycle', links: linksOf(n1), times: 1_000 }]
  const words: Steps = { self: n1.name, underlay: n1.address, overlay: overlayOf([n1], n1), steps }
  for (let round = 0; round < 10; round++) {
    // 0.4 s: until it has started; then a cycle takes 0.05 s.
    const seconds = 0.4 + ((round * 37) % 100) / 500
    await n1.run(
      `timeout -s KILL ${seconds} ${process.execPath} ${join(root, 'test/e2e/device-steps.ts')} '${JSON.stringify(words)}'`,
    )
    const [refused] = await take(n1, overlayOf([n1], n1), [{ do: 'clean' }])
    expect([refused, withoutTimes(await picture(n1))]).toEqual([[], fresh])
  }
})

test('once no agent runs all of it can be removed, and nothing of anybody else is', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  await n1.ok(
    `ip link add name docker0 type bridge && ip netns add theirs &&
     ip link add name veth1 type veth peer name eth0 netns theirs && ip link set veth1 master docker0 &&
     ip rule add preference 10000 fwmark 0x1/0xff lookup 77 && nft add table inet theirs`,
  )
  const fresh = withoutTimes(await picture(n1))
  const kept = [
    { do: 'create', links: linksOf(n1) },
    { do: 'leftovers', kept: [task(n1)] },
  ] as const
  expect((await take(n1, overlayOf([n1], n1), kept))[1]).toEqual([])
  for (const mark of [1, 2]) await n1.ok(`ip rule add preference 10777 fwmark 0x6776000${mark} lookup ${mark}`)
  await n1.ok('nft add table inet grapevine')
  const [found, refused, after] = await take(n1, overlayOf([n1], n1), [
    { do: 'leftovers' },
    { do: 'clean' },
    { do: 'leftovers' },
  ])
  expect((found as readonly { readonly kind: string }[]).map(({ kind }) => kind).join(' ')).toBe(
    'namespace device device device rule rule table',
  )
  expect([refused, after]).toEqual([[], []])
  expect(withoutTimes(await picture(n1))).toBe(fresh)
  expect(await n1.ok('nft list tables')).toBe('table inet theirs')
})

test('what a machine lacks for this data plane is told by name', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const module = join(root, 'agent/dataplane/linux/probe.ts')
  const script = `import('${module}').then(async (m) => console.log(await m.missingForLinux({ vxlanPort: 4789 })))`
  const ask = (before = '') => n1.ok(`${before} ${process.execPath} -e "${script}"`)
  expect(await ask()).toBe('undefined')
  expect(await ask('setpriv --bounding-set -net_admin')).toMatch(/^the agent must run as root/)
  const hidden = async (tool: string, stand: string) => {
    const path = await n1.ok(`command -v ${tool}`)
    await n1.ok(`printf '#!/bin/sh\n${stand}\n' > /run/stand; mount --bind /run/stand ${path}`)
    const told = await ask()
    await n1.ok(`umount ${path}`)
    return told
  }
  expect(await hidden('nft', '')).toBe('the program nft is missing; install nftables')
  await n1.ok('cp $(command -v ip) /run/real')
  await n1.ok('touch /run/stand; chmod +x /run/stand')
  const blind = 'case "$*" in *vxlan*) echo Error: Unknown device type. >&2; exit 2;; esac; exec /run/real "$@"'
  expect(await hidden('ip', blind)).toMatch(/^the kernel has no VXLAN \(.*Unknown device type/)
})

test('what stands in the way of a network is said, and the network is not there at all', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const fresh = withoutTimes(await picture(n1))
  const sentenceOf = async (of: OverlayNetwork = network(app, 'appnet', '10.0.9.0/24')) => {
    const overlay = overlayOf([n1], n1, [of])
    const steps: readonly Step[] = [{ do: 'apply' }, { do: 'create', links: linksOf(n1) }, { do: 'apply nothing' }]
    const [problems, task, after] = await take(n1, overlay, steps)
    const [problem] = problems as readonly { readonly sentence: string }[]
    expect(task).toEqual({ failed: problem?.sentence })
    // The task has gone; people still read it.
    expect(after).toEqual(problems)
    return problem?.sentence
  }
  expect(await sentenceOf(network(app, 'appnet', '10.77.0.0/25'))).toBe(
    'Network "appnet" cannot be on this node: its subnet 10.77.0.0/25 overlaps the machine\'s route 10.77.0.0/24 dev eth0; create it with another --subnet',
  )
  expect(withoutTimes(await picture(n1))).toBe(fresh)
  const tunnel = tunnelName(app)
  await n1.ok(`ip link add name ${tunnel} type bridge`)
  expect(await sentenceOf()).toContain(
    `a device ${tunnel} that is not this agent's; remove it with: ip link delete ${tunnel}`,
  )
  await n1.ok(`ip link delete ${tunnel}`)
  n1.begin(`${needs('nc')} -u -l 4789`, () => {})
  await until(async () => (await n1.ok('cat /proc/net/udp')).includes(':12B5 '), {
    deadlineMs: 5_000,
    what: 'nc to listen',
  })
  expect(await sentenceOf()).toMatch(
    /UDP port 4789, which VXLAN needs, is taken by another program \(nc\b.*, pid \d+\); stop it/,
  )
  expect(withoutTimes(await picture(n1)).replaceAll(/"ifindex":\d+/g, '')).toBe(fresh.replaceAll(/"ifindex":\d+/g, ''))
})

test('a task whose network cannot be made whole leaves nothing, and is made when the cause has gone', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  await take(n1, overlayOf([n1], n1), [{ do: 'apply' }])
  const before = withoutTimes(await picture(n1))
  const nft = await n1.ok('command -v nft')
  await n1.ok(`printf '#!/bin/sh\necho no tables today >&2; exit 1\n' > /run/stand; chmod +x /run/stand`)
  await n1.ok(`mount --bind /run/stand ${nft}`)
  const create: Step = { do: 'create', links: linksOf(n1) }
  expect(await take(n1, overlayOf([n1], n1), [create])).toEqual([
    { failed: 'The network of a task cannot be made: sh said: no tables today' },
  ])
  await until(async () => withoutTimes(await picture(n1)) === before, { deadlineMs: 5_000, what: 'its devices to go' })
  await n1.ok(`umount ${nft}`)
  expect(await take(n1, overlayOf([n1], n1), [create])).toEqual([{ netns: netns(n1) }])
})

test("a task's questions to 127.0.0.11 reach the agent, over UDP and TCP, from whatever address it asks", async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  const nc = needs('nc')
  await take(n1, overlayOf([n1], n1), [{ do: 'apply' }, { do: 'create', links: linksOf(n1) }])
  const heard: string[] = []
  for (const flag of ['-u', '']) n1.begin(`${nc} ${flag} -v -k -l 10.0.9.1 30001 2>&1`, (line) => heard.push(line))
  const listens = async () => (await n1.ok('cat /proc/net/udp /proc/net/tcp')).split(' 0109000A:7531 ').length === 3
  await until(listens, { deadlineMs: 5_000, what: 'both to listen' })
  for (const [flags, text] of [
    ['-u -w 1', 'udp'],
    ['-N -w 1', 'tcp'],
    [`-u -w 1 -s ${address(n1)}`, 'own'],
  ] as const) {
    await n1.ok(`echo ${text} | ${inside(n1, `${nc} ${flags} 127.0.0.11 53`)}`)
    await until(() => heard.includes(text), { deadlineMs: 5_000, what: `the question over ${text}` })
  }
  expect(heard.filter((line) => /from|received/i.test(line)).every((line) => line.includes(address(n1)))).toBe(true)
})

test('a program runs inside its network with a resolv.conf of its own, its health commands too, also for the next agent', async () => {
  const lan = await createLan()
  const n1 = await lan.add()
  await n1.ok('echo nameserver 127.0.0.11 > /run/resolv && echo 127.0.0.1 me > /run/names')
  const plan: TaskPlan = {
    ...{ task: task(n1), service: 'web'.padEnd(25, '0'), serviceName: 'web', slot: '1', name: 'web.1', image: 'sleep' },
    ...{ command: [], args: ['1000'], env: {}, dir: undefined, user: 'nobody', hostname: 'web', labels: {} },
    stop: { signal: 'SIGTERM', graceMs: 1_000 },
    container: noContainer,
    attachment: {
      ...{ host: address(n1), ports: [], resolver: '10.0.9.1:30001', hostsFile: '/run/names' },
      ...{ netns: netns(n1), resolvFile: '/run/resolv' },
    },
  }
  const overlay = overlayOf([n1], n1)
  await take(n1, overlay, [
    { do: 'create', links: linksOf(n1) },
    { do: 'start', plan },
  ])
  const ask = (line: string): Step => ({ do: 'exec', task: plan.task, argv: ['sh', '-c', line] })
  const answers = await take(n1, overlay, [ask('cat /etc/resolv.conf /etc/hosts'), ask('ip -br -4 address show eth0')])
  expect(answers).toEqual([
    { code: 0, output: 'nameserver 127.0.0.11\n127.0.0.1 me\n' },
    { code: 0, output: expect.stringContaining('10.0.9.11/32') },
  ])
  expect(await n1.ok(`readlink /proc/$(pidof sleep)/ns/net`)).toBe(
    await n1.ok(inside(n1, 'readlink /proc/self/ns/net')),
  )
  expect(await n1.ok('cat /etc/resolv.conf')).toBe('nameserver 127.0.0.1')
  await take(n1, overlay, [
    { do: 'stop', task: plan.task },
    { do: 'remove', task: plan.task },
  ])
  expect(await n1.ok('ls /run/netns')).toBe('')
})
