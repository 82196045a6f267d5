/**
 * Five machines with the linux data plane, a web service published on all of them, and clients that ask it all the time: from outside through every
 * machine, and from a task at the virtual IP. For tests that take one after another from one cluster.
 *
 * It keeps what was lost and when, so that of all requests ever asked those are left that failed without an excuse.
 */
import { afterAll, onTestFailed } from 'vitest'
import { needs, needsMachines } from '../needs.ts'
import { until } from '../until.ts'
import { type RunningTask, runningTasks, runs, webProgram } from './clients.ts'
import { type Lan, type Machine, openLan, outsideAddress } from './machines.ts'
import { taskOf } from './overlay.ts'
import { type Asked, trackConnections, type Witness, witness } from './witnesses.ts'

export interface Five {
  readonly lan: Lan
  readonly machines: readonly [Machine, Machine, Machine, Machine, Machine]
  /** Makes network, service and clients; the task that asks is on n2. */
  serve(): Promise<void>
  /** From now on the machines are lost, with all that runs on them. */
  lose(...lost: readonly Machine[]): Promise<void>
  /** From now on nothing passes between two sides. Clients outside reach both. */
  part(left: readonly Machine[], right: readonly Machine[]): Promise<void>
  /** From now on a machine may know of no task anywhere. */
  blind(): void
  /** Once more after a machine was switched on again: its connections are followed. */
  follow(machine: Machine): void
  /** Waits until so many requests in a row were answered through a machine, all begun after this call. */
  streak(machine: Machine, count: number): Promise<void>
  /**
   * Waits until each machine runs one task of the service, and so none moves to another: who comes back gets its share later, when it has stayed for a while
   * (rebalance.ts).
   */
  even(): Promise<readonly RunningTask[]>
  /** Waits until the kernels of all who are left lead nowhere that is lost; they learn it just after the lists of nodes. No new connection goes there any more. */
  known(): Promise<void>
  /**
   * Everything is as it was: waits until clients got answers through every machine, from when on nothing is lost. A line for each request so far that
   * failed, and was not open on what was lost.
   */
  whole(): Promise<readonly string[]>
}

/** `local`: the machines are on one host, and many deaths are waited for. */
export const agentFlags = `--dataplane linux --preset ${process.env.GRAPEVINE_PRESET ?? 'local'} --upstream-dns ${outsideAddress}`

/** Explains failures of requests that came in through `entries` and were sent on to `servers`. */
interface Excuse {
  readonly entries: ReadonlySet<string>
  /** Undefined: to whomever. */
  readonly servers: ReadonlySet<string> | undefined
  /** Requests that were open then, or began until `untilMs`. */
  readonly fromMs: number
  untilMs: number
}

let shared: Promise<Five> | undefined
let broken = false

afterAll(async () => {
  await (await shared)?.lan.close()
})

/** The five, made by the first test that asks, without agents. A test that failed leaves nothing for those after it. */
export async function five(): Promise<Five> {
  needsMachines()
  for (const tool of ['conntrack', 'nft', 'nsenter', 'bash', 'hostname']) needs(tool)
  if (broken) throw new Error('an earlier test has left the five machines as they should not be')
  shared ??= open()
  const opened = await shared
  onTestFailed(() => {
    broken = true
    process.stderr.write(opened.lan.said())
  })
  return opened
}

async function open(): Promise<Five> {
  const lan = await openLan()
  const machines = await Promise.all([lan.add(), lan.add(), lan.add(), lan.add(), lan.add()])
  const [, n2] = machines
  const trackers = trackConnections()
  for (const machine of machines) trackers.follow(machine)
  const witnesses: Witness[] = []
  const excuses: Excuse[] = []

  async function serversOn(lost: readonly Machine[]): Promise<ReadonlySet<string>> {
    const names = new Set(lost.map(({ name }) => name))
    const tasks = (await runningTasks(n2, 'web')).filter(({ node }) => names.has(node))
    return new Set(tasks.flatMap(({ addresses }) => addresses.map(withoutSize)))
  }

  function excuse(...made: readonly Pick<Excuse, 'entries' | 'servers'>[]): void {
    excuses.push(...made.map((one) => ({ ...one, fromMs: Date.now(), untilMs: Number.POSITIVE_INFINITY })))
  }

  function end(ended: (excuse: Excuse) => boolean): void {
    const nowMs = Date.now()
    for (const one of excuses) if (ended(one)) one.untilMs = Math.min(one.untilMs, nowMs)
  }

  /** Until each of the machines has led a client to a task, by a connection that began after this call. */
  async function answers(): Promise<void> {
    const sinceMs = Date.now()
    const silent = () =>
      machines.filter(
        ({ address }) =>
          !witnesses.some(({ asked }) =>
            asked.some(({ entry, error, atMs }) => entry === address && error === undefined && atMs >= sinceMs),
          ),
      )
    await until(
      () =>
        silent().length === 0 ||
        Promise.reject(
          new Error(
            silent()
              .map(({ name }) => name)
              .join(),
          ),
        ),
      {
        deadlineMs: 15_000,
        what: 'an answer through each machine',
      },
    )
  }

  function unexplained(): readonly string[] {
    return witnesses.flatMap(({ address, asked }) =>
      asked.flatMap((one) => {
        if (one.error === undefined) return []
        const servers = [...trackers.servers(address, one.port)]
        if (excuses.some((excuse) => explains(excuse, one, servers))) return []
        const when = new Date(one.atMs).toISOString()
        return [`${when} through ${one.entry} to ${servers.join(' ')}: ${one.error} after ${one.ms} ms`]
      }),
    )
  }

  return {
    lan,
    machines,
    async serve() {
      await n2.ok('vine network create -d overlay net')
      const web = `node -e '${webProgram.replaceAll("'", '"')}'`
      await n2.ok(`vine service create --detach --quiet --name web --network net --replicas 5 --publish 8000:80 ${web}`)
      await n2.ok(
        `vine service create --detach --quiet --name client --network net --constraint node.hostname==n2 sh -c 'sleep 10000'`,
      )
      await runs([n2], 'web', 5)
      const [{ Endpoint }] = JSON.parse(await n2.ok('vine service inspect web'))
      const vip = Endpoint.VirtualIPs.map(({ Addr }: { readonly Addr: string }) => withoutSize(Addr))[0]
      const { pid, address } = await taskOf(n2, 'client')
      const inTask = (line: string) => `nsenter -t ${pid} -n -m -- ${line}`
      witnesses.push(
        witness({
          address: outsideAddress,
          begin: lan.begin,
          asks: machines.map((machine) => ({ host: `${machine.address}:8000`, entry: machine.address })),
        }),
        witness({
          address,
          begin: (line, onLine) => n2.begin(inTask(line), onLine),
          asks: [{ host: `${vip}:80`, entry: n2.address }],
        }),
      )
    },
    async lose(...lost) {
      const servers = await serversOn(lost)
      excuse({ entries: addressesOf(lost), servers: undefined }, { entries: addressesOf(machines), servers })
    },
    async part(left, right) {
      const [toLeft, toRight] = await Promise.all([serversOn(left), serversOn(right)])
      excuse({ entries: addressesOf(left), servers: toRight }, { entries: addressesOf(right), servers: toLeft })
    },
    blind: () => excuse({ entries: addressesOf(machines), servers: undefined }),
    async streak(machine, count) {
      const sinceMs = Date.now()
      const ended = () =>
        witnesses.flatMap(({ asked }) =>
          asked.filter(({ entry, atMs }) => entry === machine.address && atMs >= sinceMs),
        )
      await until(
        () =>
          ended().length >= count &&
          ended()
            .slice(-count)
            .every(({ error }) => error === undefined),
        {
          deadlineMs: 20_000,
          what: `${count} answers in a row through ${machine.name}`,
        },
      )
    },
    follow: trackers.follow,
    async even() {
      return await until(
        async () => {
          const tasks = await runs(machines, 'web', 5)
          return new Set(tasks.map(({ node }) => node)).size === 5 && tasks
        },
        { deadlineMs: 90_000, everyMs: 200, what: 'each machine to run one task' },
      )
    },
    async known() {
      const open = excuses.filter(({ untilMs }) => untilMs === Number.POSITIVE_INFINITY)
      const lost = new Set(open.flatMap(({ entries, servers }) => (servers === undefined ? [...entries] : [])))
      for (const machine of machines.filter(({ address }) => !lost.has(address)))
        await leadsNowhere(
          machine,
          open.flatMap(({ entries, servers }) => (entries.has(machine.address) ? [...(servers ?? [])] : [])),
        )
      end(({ servers }) => servers !== undefined)
    },
    async whole() {
      await answers()
      end(() => true)
      return unexplained()
    },
  }
}

/** Waits until the kernel of a machine leads clients of the service to none of these addresses. */
async function leadsNowhere(machine: Machine, addresses: readonly string[]): Promise<void> {
  await until(
    async () => {
      const chain = await machine.ok('nft list chain inet grapevine p_tcp_8000')
      const led = addresses.filter((address) => new RegExp(`\\b${address.replaceAll('.', '\\.')}\\b`).test(chain))
      return led.length === 0 || Promise.reject(new Error(`led to ${led.join(' ')}`))
    },
    { deadlineMs: 5_000, what: `the kernel of ${machine.name} to lead nowhere that is lost` },
  )
}

function explains(excuse: Excuse, asked: Asked, servers: readonly string[]): boolean {
  if (!excuse.entries.has(asked.entry)) return false
  if (asked.atMs + asked.ms < excuse.fromMs || asked.atMs > excuse.untilMs) return false
  return excuse.servers === undefined || servers.some((server) => excuse.servers?.has(server))
}

const addressesOf = (machines: readonly Machine[]) => new Set(machines.map(({ address }) => address))
const withoutSize = (address: string) => address.split('/')[0] ?? ''
