/** Clusters with the linux data plane, on machines, and what their tasks see from within. */
import { until } from '../until.ts'
import { runningTasks } from './clients.ts'
import { see } from './cluster.ts'
import { createLan, joinLine, type Lan, type Machine, outsideAddress } from './machines.ts'

export interface LinuxCluster {
  /** Names of machines that forward in user space. */
  readonly userspace?: readonly string[]
  /** Lines of shell on the third machine before its agent starts. */
  readonly thirdSetUp?: string
  /** Machines have IPv6 addresses too (`ipv6Of`), at which they publish, and a way out by them. */
  readonly ipv6?: boolean
  /** One that the caller closes. */
  readonly lan?: Lan
}

/** Three machines, with the linux data plane but for those named. */
export async function linuxCluster(options: LinuxCluster = {}) {
  const { userspace = [], thirdSetUp = '', ipv6 = false, lan = await createLan() } = options
  const machines = await Promise.all([lan.add(), lan.add(), lan.add({ setUp: thirdSetUp })])
  if (ipv6) await giveIpv6(lan, machines)
  const [first, ...others] = machines
  const flags = (machine: Machine) =>
    [
      `--dataplane ${userspace.includes(machine.name) ? 'userspace' : 'linux'} --upstream-dns ${outsideAddress}`,
      ...(ipv6 ? [`--address ${machine.address} --address ${ipv6Of(machine)}`] : []),
    ].join(' ')
  await first.start(`vine agent ${flags(first)}`)
  const line = await joinLine(first)
  await Promise.all(others.map((machine) => machine.start(`${line} ${flags(machine)}`)))
  await see(machines, machines)
  return [lan, ...machines] as readonly [Lan, Machine, Machine, Machine]
}

export const outsideIpv6 = 'fd77::254'

export function ipv6Of({ name }: Machine): string {
  return `fd77::${name.slice(1)}`
}

/** Addresses on the switch, and a default route, beside those of IPv4. */
export async function giveIpv6(lan: Lan, machines: readonly Machine[]): Promise<void> {
  const line = (address: string, device: string) => `ip address add ${address}/64 dev ${device} nodad`
  await lan.outside(line(outsideIpv6, 'switch7'))
  for (const machine of machines)
    await machine.ok(`${line(ipv6Of(machine), 'eth0')} && ip route add default via ${outsideIpv6}`)
}

export interface Task {
  readonly pid: number
  /** On the first of its networks. */
  readonly address: string
  /** A line of shell in the task's network, with its files. */
  run(line: string): ReturnType<Machine['run']>
  ok(line: string): Promise<string>
}

/** A task of a service on a machine. */
export async function taskOf(machine: Machine, service: string): Promise<Task> {
  const found = await until(
    async () =>
      (await runningTasks(machine, service)).find(({ node, pid }) => node === machine.name && pid > 0) ?? false,
    { deadlineMs: 10_000, what: `${service} to run on ${machine.name}` },
  )
  const line = (inside: string) => `nsenter -t ${found.pid} -n -m -- sh -c '${inside}'`
  const address = found.addresses[0]?.split('/')[0] ?? ''
  return {
    pid: found.pid,
    address,
    run: (inside) => machine.run(line(inside)),
    ok: (inside) => machine.ok(line(inside)),
  }
}

/** Answers with its node's name and who asks. */
export const tellsClient = `node -e 'require("http").createServer((q, r) => r.end(process.env.GRAPEVINE_NODE + " " + q.socket.remoteAddress)).listen(process.env.PORT ?? 80, process.env.GRAPEVINE_ADDRESS)'`

/** What an nft listing says, in no order of its own: sets and maps are listed as the kernel has them. */
export function tableLines(listing: string): readonly string[] {
  return listing
    .split(/[\n,]/)
    .map((line) => line.replace(/[{}]|elements =/g, '').trim())
    .filter((line) => line !== '' && !/^0x\w{8}$/.test(line))
    .sort()
}
