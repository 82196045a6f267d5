/**
 * Machines for the figures of the linux data plane (test/e2e/machines.ts): agents on the first ones, hand-made peers on others, clients at the switch.
 *
 * Everything hangs below one process that ends with the bench, so nothing of it is left in the kernel. Files lie in a folder that machines share.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runningTasks } from '../../e2e/clients.ts'
import { see } from '../../e2e/cluster.ts'
import { joinLine, type Lan, type Machine, openLan } from '../../e2e/machines.ts'
import { until } from '../../until.ts'
import { pause } from '../figure.ts'

export interface LinuxLab {
  readonly lan: Lan
  readonly dir: string
  /** A machine without an agent. */
  spare(): Promise<Machine>
  /** Where an nginx that serves 13 bytes at `/` has its configuration. Default port 80. */
  nginx(name: string, port?: number): string
}

/** Runs `work` on machines of its own and takes them away, however it ends. */
export async function inLab<T>(work: (lab: LinuxLab) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'vine-bench-'))
  const lan = await openLan()
  try {
    return await work({ lan, dir, spare: () => lan.add(), nginx: (name, port = 80) => writeNginx(dir, name, port) })
  } catch (error) {
    const said = lan.machines().map(({ name, said }) => `${name} said: ${said().slice(-1_500)}`)
    throw new Error(`${error instanceof Error ? error.stack : String(error)}\n${said.join('\n')}`, { cause: error })
  } finally {
    await lan.close()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Preset local, so that the figures are those of one switch. */
export const agentFlags = '--dataplane linux --preset local --log-level warn'

/** Agents on new machines, all in one cluster. */
export async function startAgents(lab: LinuxLab, count: number): Promise<readonly [Machine, ...Machine[]]> {
  const machines: Machine[] = []
  for (let i = 0; i < count; i++) machines.push(await lab.lan.add())
  const [first, ...others] = machines as [Machine, ...Machine[]]
  await first.start(`vine agent ${agentFlags}`)
  const line = await joinLine(first)
  // One after another: beside each other they only wait for the same cores.
  for (const machine of others) await machine.start(`${line} ${agentFlags}`)
  await see(machines, machines)
  return [first, ...others]
}

export interface RunningTask {
  /** On its networks, ingress last; of IPv6 after those of IPv4. */
  readonly addresses: readonly string[]
  /** Words before a command that run it in the task's network. */
  readonly inside: string
}

/** The task of a service that has one, on that machine. */
export async function taskOn(machine: Machine, service: string): Promise<RunningTask> {
  const [{ pid, addresses }] = (await until(
    async () => {
      const tasks = await runningTasks(machine, service)
      return tasks.length === 1 && tasks[0]!.pid > 0 ? tasks : Promise.reject(new Error(`${tasks.length} tasks`))
    },
    { deadlineMs: 20_000, everyMs: 100, what: `${service} to run on ${machine.name}` },
  )) as readonly [Awaited<ReturnType<typeof runningTasks>>[number]]
  return { addresses: addresses.map((address) => address.split('/')[0]!), inside: `nsenter -t ${pid} -n --` }
}

/** Waits until a line of shell ends with 0. */
export async function works(run: (line: string) => Promise<{ readonly code: number }>, line: string): Promise<void> {
  await until(async () => (await run(line)).code === 0, { deadlineMs: 20_000, everyMs: 100, what: `${line} to work` })
}

/** Ticks of 10 ms (USER_HZ) of a machine's agent, the programs it has run, and the nft that it keeps. */
export async function agentTicks(machine: Machine): Promise<number> {
  const agent = 'pgrep -f "[a]gent/main.ts agent"'
  const stats = await machine.ok(
    `for p in $(${agent}) $(pgrep -P $(${agent} | head -n 1) -x nft); do cat /proc/$p/stat; done`,
  )
  return stats.split('\n').reduce((sum, stat) => {
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return sum + fields.slice(11, 15).reduce((ticks, field) => ticks + Number(field), 0)
  }, 0)
}

/** Percent of a core that each agent takes while nothing is asked of it. */
export async function idlePercent(machines: readonly Machine[], ms: number): Promise<number> {
  const before = await Promise.all(machines.map(agentTicks))
  const beganMs = performance.now()
  await pause(ms)
  const after = await Promise.all(machines.map(agentTicks))
  const tookMs = performance.now() - beganMs
  return Math.max(...after.map((ticks, i) => ((ticks - before[i]!) * 1_000) / tookMs))
}

function writeNginx(dir: string, name: string, port: number): string {
  const own = join(dir, `nginx-${name}`)
  mkdirSync(own)
  writeFileSync(join(own, 'index.html'), 'hello, world\n')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${own}/${kind};`)
    .join(' ')
  const path = join(own, 'nginx.conf')
  writeFileSync(
    path,
    `user root; worker_processes 1; daemon off; pid ${own}/nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http { access_log off; keepalive_requests 100000000; keepalive_timeout 3600; sendfile on; ${temporary}
  server { listen ${port} backlog=4096; root ${own}; } }
`,
  )
  return path
}
