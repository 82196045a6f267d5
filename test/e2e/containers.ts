/**
 * Services whose tasks are containers, as end-to-end tests ask for them and look at them: from a machine of test/e2e/machines.ts with an engine.
 */
import { until } from '../until.ts'
import type { TestEngine } from './engines.ts'
import type { Machine } from './machines.ts'

/** Answers with its host name, says a word on each stream, and ends only when it is killed. */
export const serve = `box:1 sh -c 'mkdir -p /www && hostname > /www/index.html && echo begun && echo heard >&2 && exec httpd -f -p 80 -h /www'`
/** Arguments of one that does nothing and ends when it is asked to, as the first program of a container does only where it says so. */
export const rest = `sh -c "trap 'exit 0' TERM; sleep 1000 & wait"`
export const create = 'vine service create --detach --quiet --stop-signal SIGKILL'

/** Names of containers that are no sandboxes -> their ids, of those that run. */
export async function running({ docker }: TestEngine): Promise<ReadonlyMap<string, string>> {
  const all = await docker.listContainers()
  const named = all.map(({ Names, Id }) => [(Names[0] ?? '').slice(1), Id] as const)
  return new Map(named.filter(([name]) => !name.endsWith('.net')).sort())
}

export async function serves(machine: Machine, service: string, count: number): Promise<void> {
  await until(async () => (await states(machine, service)).filter((state) => state === 'running').length === count, {
    deadlineMs: 20_000,
    what: `${count} tasks of ${service} to run`,
  })
}

async function states(machine: Machine, service: string): Promise<readonly string[]> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service], 'desired-state': ['running'] }))
  const tasks = await machine.client.get<readonly { readonly Status: { readonly State: string } }[]>(
    `/tasks?filters=${filters}`,
  )
  return tasks.map(({ Status }) => Status.State)
}

/** What became of each task of a service, as `service ps` would say it. */
export async function errors(machine: Machine, service: string): Promise<string> {
  const filters = encodeURIComponent(JSON.stringify({ service: [service] }))
  const tasks = await machine.client.get<
    readonly { readonly Status: { readonly State: string; readonly Err?: string } }[]
  >(`/tasks?filters=${filters}`)
  return tasks.map(({ Status }) => `${Status.State} ${Status.Err ?? ''}`).join('\n')
}

/** As if typed at a shell in the container. */
export async function inside(machine: Machine, service: string, line: string): Promise<string> {
  const id = await machine.ok(
    `curl -fsS --unix-socket /run/docker.sock 'http://docker/containers/json' | tr ',' '\\n' | grep -o '/${service}[.][^"]*' | grep -v net$ | head -1`,
  )
  return await machine.ok(`docker -H unix:///run/docker.sock exec ${id.slice(1)} sh -c '${line}'`)
}

export async function answers(
  ask: () => Promise<{ readonly code: number; readonly out: string }>,
  what: string,
): Promise<string> {
  const ran = await until(
    async () => {
      const { code, out } = await ask()
      return code === 0 ? out : ''
    },
    { deadlineMs: 10_000, what },
  )
  return ran.trim()
}

export async function nothingIsLeft(machine: Machine, engine: TestEngine, deadlineMs = 20_000): Promise<void> {
  await until(
    async () => {
      const left = [...(await engine.containers()), await machine.ok('ip netns')].filter((name) => name !== '')
      return left.length === 0 || Promise.reject(new Error(`${left.join(' ')} left`))
    },
    { deadlineMs, what: `no container and no namespace to be left on ${machine.name}` },
  )
}

export function webSpec(container: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const Args = ['sh', '-c', 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 80 -h /www']
  return {
    Name: 'web',
    Mode: { Replicated: { Replicas: 2 } },
    TaskTemplate: { ContainerSpec: { Image: 'box:1', Args, StopSignal: 'SIGKILL', ...container } },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  }
}

export async function told(machine: Machine, service: string, what: RegExp): Promise<void> {
  await until(
    async () => what.test(await errors(machine, service)) || Promise.reject(new Error(await errors(machine, service))),
    {
      deadlineMs: 20_000,
      what: `${service} to say ${what}`,
    },
  )
}
