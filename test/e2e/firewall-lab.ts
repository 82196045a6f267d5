/**
 * Three machines whose kernels forward, and somebody outside, for linux-firewall.long.test.ts: machines.ts gives them, firewall-node.ts works on them as an
 * agent does. Every machine has a task; two of them serve "app" on port 8000 and at a VIP.
 */
import { join } from 'node:path'
import type { Backend, Routes } from '../../agent/core/routes/types.ts'
import type { TaskLinks } from '../../agent/dataplane/linux/devices.ts'
import { namespaceName } from '../../agent/dataplane/linux/names.ts'
import { root } from '../tidy/source.ts'
import { until } from '../until.ts'
import { createLan, type Lan, type Machine } from './machines.ts'
import { giveIpv6, ipv6Of } from './overlay.ts'

export const appnet = 'appnet'.padEnd(25, '0')
export const vip = '10.0.9.2'
export const vip6 = 'fd09::2'
export const idOf = (name: string) => `task${name}`.padEnd(25, '0')
const node = process.execPath
const script = (name: string) => join(root, 'test/e2e', name)

export interface Lab {
  readonly lan: Lan
  readonly machines: readonly Machine[]
  /** Makes routes so on every machine. */
  route(change?: RouteChange): Promise<void>
  routesFor(machine: Machine, change?: RouteChange): Routes
  localOf(machine: Machine): readonly TaskLinks[]
  /** Times that a machine's table was restored. */
  restored(machine: Machine): number
  /** What `peer.ts ask` says outside, or in a task's namespace. */
  ask(from: Machine | 'outside', words: string): Promise<string>
  inTask(machine: Machine, line: string): string
  /** A conversation of datagrams with a published port; the answers so far. */
  talk(words: string): readonly string[]
}

export interface RouteChange {
  /** Names of the machines whose tasks serve. Default n2 and n3. */
  readonly serving?: readonly string[]
  readonly affinity?: 'none' | 'client-ip'
}

/** On a switch of its own, which ends with the test, or on one that somebody else takes away. */
export async function startLab(given?: Lan): Promise<Lab> {
  const lan = given ?? (await createLan())
  const machines = await Promise.all([lan.add(), lan.add(), lan.add()])
  await giveIpv6(lan, machines)
  const restored = new Map<string, number>()
  const inTask = (machine: Machine, line: string) =>
    `nsenter --net=/run/netns/${namespaceName(idOf(machine.name), '0badcafe')} ${line}`
  const lab: Lab = {
    lan,
    machines,
    async route(change) {
      await Promise.all(
        machines.map((machine) => {
          const body = { routes: lab.routesFor(machine, change), local: lab.localOf(machine) }
          return machine.client.post('/apply', body)
        }),
      )
    },
    routesFor: (machine, change) => routesFor(machines, machine, change),
    localOf: localOf,
    restored: ({ name }) => restored.get(name) ?? 0,
    async ask(from, words) {
      const line = `${node} ${script('peer.ts')} ask ${words}`
      const { out } = await (from === 'outside' ? lan.outside(line) : from.run(inTask(from, line)))
      return out.trim()
    },
    inTask,
    talk(words) {
      const answers: string[] = []
      machines[0]!.begin(`${node} ${script('peer.ts')} talk ${words}`, (line) => answers.push(line))
      return answers
    },
  }
  await Promise.all(machines.map((machine) => startNode(machine, restored)))
  await lab.route()
  await Promise.all(machines.map((machine) => serve(machine, inTask)))
  return lab
}

async function startNode(machine: Machine, restored: Map<string, number>): Promise<void> {
  let up = false
  machine.begin(
    `${node} ${script('firewall-node.ts')} ${machine.name} ${machine.address} ${ipv6Of(machine)}`,
    (line) => {
      if (line === 'up') up = true
      if (line === 'restored') restored.set(machine.name, (restored.get(machine.name) ?? 0) + 1)
    },
  )
  await until(() => up, { deadlineMs: 15_000, what: `the firewall of ${machine.name}` })
}

async function serve(machine: Machine, inTask: Lab['inTask']): Promise<void> {
  let up = false
  machine.begin(inTask(machine, `${node} ${script('peer.ts')} serve ${machine.name} 80`), () => {
    up = true
  })
  await until(() => up, { deadlineMs: 15_000, what: `the task of ${machine.name} to serve` })
}

const last = ({ name }: Machine) => 20 + Number(name.slice(1))
export const appAddress = (machine: Machine) => `10.0.9.${last(machine)}`
export const ingressAddress = (machine: Machine) => `10.255.0.${last(machine)}`
/** The place of the IPv4 address in the IPv6 subnet. */
export const appIpv6 = (machine: Machine) => `fd09::${last(machine).toString(16)}`
export const ingressIpv6 = (machine: Machine) => `fdff::${last(machine).toString(16)}`

function localOf(machine: Machine): readonly TaskLinks[] {
  const links = [
    { network: appnet, address: appAddress(machine) },
    { network: 'ingress', address: ingressAddress(machine) },
  ]
  return [{ task: idOf(machine.name), links, resolver: { host: '10.0.9.1', port: 10_153 } }]
}

function routesFor(machines: readonly Machine[], self: Machine, { serving, affinity }: RouteChange = {}): Routes {
  const servers = machines.filter(({ name }) => (serving ?? ['n2', 'n3']).includes(name))
  const backends = (hostOf: (machine: Machine) => string, host6Of: (machine: Machine) => string): readonly Backend[] =>
    servers.map((machine) => ({
      task: idOf(machine.name),
      node: machine.name,
      local: machine === self,
      suspect: false,
      healthy: true,
      host: hostOf(machine),
      host6: host6Of(machine),
      ports: [
        { protocol: 'tcp', target: 80, actual: 80 },
        { protocol: 'udp', target: 80, actual: 80 },
      ],
    }))
  const service = { service: 'app'.padEnd(25, '0'), name: 'app' }
  const options = { affinity: affinity ?? 'none', proxyProtocol: false } as const
  const port = { ...service, port: 8000, target: 80, mode: 'ingress', options } as const
  const network = { internal: false, encrypted: false, mtu: undefined }
  return {
    revision: 1,
    published: (['tcp', 'udp'] as const).map((protocol) => ({
      ...port,
      protocol,
      backends: backends(ingressAddress, ingressIpv6),
    })),
    services: [{ ...service, network: appnet, vip, vip6, ports: [], options, backends: backends(appAddress, appIpv6) }],
    tasks: [],
    overlay: {
      networks: [
        { ...network, id: appnet, name: 'appnet', ...addressing('10.0.9', '0/24', 'fd09') },
        { ...network, id: 'ingress', name: 'ingress', ...addressing('10.255', '0.0/16', 'fdff') },
      ],
      nodes: machines
        .filter((other) => other !== self)
        .map((other) => ({
          ...{ node: other.name, address: other.address, addresses: [other.address, ipv6Of(other)] },
          dataplane: 'linux',
          dataPathPort: 4789,
        })),
      places: machines.flatMap((machine) => [
        { network: appnet, address: appAddress(machine), task: idOf(machine.name), node: machine.name },
        { network: 'ingress', address: ingressAddress(machine), task: idOf(machine.name), node: machine.name },
      ]),
    },
  }
}

function addressing(first: string, rest: string, first6: string) {
  const gateway = `${first}.${rest.replace(/0\/\d+$/, '1')}`
  return { subnet: `${first}.${rest}`, gateway, ipv6: { subnet: `${first6}::/64`, gateway: `${first6}::1` } }
}
