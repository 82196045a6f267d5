/**
 * Looks at the machine for what keeps an agent from working: ports, file limit, DNS port, disk, clock, leftovers.
 *
 * It changes nothing: a port is tried by binding it and letting go at once. `judge.ts` says what the facts mean.
 */
import { createSocket } from 'node:dgram'
import { existsSync } from 'node:fs'
import { readdir, readFile, statfs } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { readConfig } from '../../config.ts'
import { readMachine } from '../agent/machine.ts'
import type { Finding } from '../grapevine.ts'
import { type Facts, judge } from './judge.ts'

export interface Examined {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly socket: string
  readonly agentRuns: boolean
  /** Remove what is left in the kernel, if no agent runs. */
  readonly clean: boolean
}

export async function examineMachine({ env, socket, agentRuns, clean }: Examined): Promise<readonly Finding[]> {
  const { node, transport } = readConfig({ flags: {}, env, file: undefined, machine: readMachine(env) })
  const port = Number(/\/tcp\/(\d+)/.exec(transport.listen[0] ?? '')?.[1] ?? 7766)
  const orphans = agentRuns ? [] : await tasksLeft(node.dataDir)
  const facts: Facts = {
    agentRuns,
    socket,
    socketExists: existsSync(socket),
    dataDir: node.dataDir,
    port,
    portError: agentRuns ? undefined : await tryTcp(port),
    meshError: agentRuns ? undefined : await tryTcp(port + 1),
    dns: agentRuns ? [] : [await tryUdp(53), await tryUdp(10_053)],
    filesMax: await fileLimit(),
    disk: await freeSpace(node.dataDir),
    clockSynchronized: existsSync('/run/systemd/timesync/synchronized') ? true : undefined,
    orphans,
    inKernel: agentRuns ? [] : await kernelLeft(node.dataDir, { orphans, clean }),
  }
  return judge(facts)
}

/** Undefined when the port can be bound, else the system's code. */
function tryTcp(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ port, host: '0.0.0.0', exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

function tryUdp(port: number): Promise<{ readonly port: number; readonly error: string | undefined }> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4')
    socket.once('error', (error: NodeJS.ErrnoException) => resolve({ port, error: error.code ?? error.message }))
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () =>
      socket.close(() => resolve({ port, error: undefined })),
    )
  })
}

/** Soft limit of open files of what is started from here. */
async function fileLimit(): Promise<number | undefined> {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(await readFile('/proc/self/limits', 'utf8'))?.[1]
    return line === 'unlimited' ? Number.POSITIVE_INFINITY : line === undefined ? undefined : Number(line)
  } catch {
    // Not Linux: the agent does not run here, `vine` is a client only.
    return undefined
  }
}

/** Of the directory, or the nearest one above it that exists. */
async function freeSpace(directory: string): Promise<Facts['disk']> {
  let at = directory
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at)
  const { bavail, blocks, bsize } = await statfs(at)
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
}

/** Tasks that earlier agents started and that still run: `tasks/tasks/<id>/pid` below the data directory holds "pid ticks …" (runtime/process). */
async function tasksLeft(dataDir: string): Promise<Facts['orphans']> {
  const found: { pid: number; task: string }[] = []
  const directory = join(dataDir, 'tasks', 'tasks')
  for (const task of await readdir(directory).catch(noneThere)) {
    const [pid, ticks] = (await readFile(join(directory, task, 'pid'), 'utf8').catch(() => '')).split(' ')
    if (pid && (await startTicks(pid)) === ticks) found.push({ pid: Number(pid), task })
  }
  return found
}

/**
 * What an agent left in the kernel, after it was removed if that is wanted. What tasks that still run need stays: the next agent adopts them. The agent's
 * own code, which knows, is loaded only where there is a sign of it.
 */
async function kernelLeft(
  dataDir: string,
  { orphans, clean }: { readonly orphans: Facts['orphans']; readonly clean: boolean },
): Promise<readonly string[]> {
  const devices = await readdir('/sys/class/net').catch(noneThere)
  const namespaces = await readdir('/run/netns').catch(noneThere)
  if (![...devices, ...namespaces].some((name) => /^v[bxtw][0-9a-z]{9}$|^gv-/.test(name))) return []
  const { cleanKernel, kernelLeftovers } = await import('../../start.ts')
  const kept = orphans.length === 0 ? undefined : new Set(orphans.map(({ task }) => task))
  if (clean) await cleanKernel(dataDir, kept)
  return await kernelLeftovers(dataDir, kept)
}

/** No such directory, or one that we may not read: nothing to tell of. */
function noneThere(): readonly string[] {
  return []
}

/** Field 22 of /proc/<pid>/stat: with the pid it names one process until the next boot. */
async function startTicks(pid: string): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
}
