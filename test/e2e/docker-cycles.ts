/**
 * Containers that come and go on one machine with the linux data plane, and how long they take to start: in short for CI, in full for npm run soak.
 *
 * What is left is compared as a whole: the traces of every task (traces.ts), and what the engine itself lists and keeps on its disk.
 */
import { expect } from 'vitest'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { nothingIsLeft, running } from './containers.ts'
import { agent, restingTraces, scale, tasksAtOnce } from './cycles.ts'
import { startEngine, type TestEngine } from './engines.ts'
import { createLan, type Lan, type Machine } from './machines.ts'
import { differences, leavesNothing, type Traces } from './traces.ts'

/** 2 min: on two busy cores an engine takes half a minute to start 50 containers, and as long to remove them. */
const roundMs = 120_000

interface Site {
  readonly lan: Lan
  readonly n1: Machine
  readonly engine: TestEngine
}

/**
 * So many containers are started and removed, each with a network, a volume of its own and a published port that is asked. `tell` hears of each round.
 */
export async function startAndRemove(times: number, tell: (line: string) => void): Promise<void> {
  const site = await openSite()
  const { lan, n1, engine } = site
  await n1.ok('vine network create -d overlay net')
  // The first makes what the engine makes once: the image of sandboxes, and folders.
  await service(site, 'first', 1)
  await runs(site, 1)
  await end(site, 'first')
  // The end of its last connection is forgotten a moment later.
  const before = { ...(await restingTraces(n1)), connections: [] }
  const kept = await until(() => keptBy(site), { deadlineMs: 10_000, what: 'the lists of the engine' })

  await service(site, 'many', 0)
  const ids = new Set<string>()
  const began = performance.now()
  for (let done = 0; done < times; done += tasksAtOnce) {
    await scale(n1, 'many', tasksAtOnce)
    await runs(site, tasksAtOnce)
    const all = await engine.docker.listContainers({ all: true })
    for (const { Id } of all) ids.add(Id)
    // Those of earlier rounds are gone, and each of these has one.
    expect(await groupsOf(n1, ids)).toEqual(all.map(({ Id }) => Id).sort())
    const { out } = await lan.outside(
      `for i in 1 2 3 4 5 6 7 8; do curl -s -o /dev/null -w '%{http_code} ' -m 3 http://${n1.address}:8080/; done`,
    )
    expect(out).toBe('200 '.repeat(8))
    await scale(n1, 'many', 0)
    await nothingIsLeft(n1, engine, roundMs)
    tell(`${done + tasksAtOnce} containers started and removed in ${Math.round((performance.now() - began) / 1_000)} s`)
  }
  await n1.ok('vine service rm many')
  await leavesNothing(n1, before)
  await until(
    async () => {
      const found = differences(await keptBy(site), kept)
      return found.length === 0 || Promise.reject(new Error(`\n${found.slice(0, 40).join('\n')}`))
    },
    { deadlineMs: 20_000, everyMs: 200, what: 'nothing to be left in the engine' },
  )
  expect(await groupsOf(n1, ids)).toEqual([])
}

/** Which of these containers have a group of processes: the kernel has one tree of them, with those of other machines' engines. */
async function groupsOf(machine: Machine, ids: ReadonlySet<string>): Promise<readonly string[]> {
  const found = await machine.ok("find /sys/fs/cgroup -type d | grep -oE '[0-9a-f]{64}' | sort -u")
  return found.split('\n').filter((id) => ids.has(id))
}

/** Milliseconds from the request for a service to its running task, and Docker's own from the sandbox to the start of the container, one at a time. */
export async function startTimes(
  times: number,
): Promise<{ readonly running: readonly number[]; readonly docker: readonly number[] }> {
  const site = await openSite()
  const { n1, engine } = site
  await n1.ok('vine network create -d overlay net')
  await service(site, 'first', 1)
  await runs(site, 1)
  await end(site, 'first')
  const measured: number[] = []
  const ofDocker = new Map<string, number>()
  for (let i = 0; i < times; i++) {
    const since = now()
    const began = performance.now()
    await service(site, 'one', 1)
    await runs(site, 1, 5)
    measured.push(performance.now() - began)
    // At once: Docker remembers 256 events, half of what all of them make.
    for (const [task, ms] of await engineTimes(engine, since)) ofDocker.set(task, ms)
    await end(site, 'one')
  }
  return { running: measured, docker: [...ofDocker.values()] }
}

export function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return Math.round(sorted[Math.min(sorted.length - 1, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN)
}

async function openSite(): Promise<Site> {
  for (const tool of ['curl', 'conntrack', 'ps']) needs(tool)
  const lan = await createLan()
  const n1 = await lan.add()
  const engine = await startEngine(n1)
  await n1.start(agent)
  return { lan, n1, engine }
}

async function service({ n1 }: Site, Name: string, Replicas: number): Promise<void> {
  const Args = ['sh', '-c', 'echo here > /data/index.html && exec httpd -f -p 80 -h /data']
  await n1.client.post('/services/create', {
    Name,
    Mode: { Replicated: { Replicas } },
    TaskTemplate: {
      ContainerSpec: { Image: 'box:1', Args, StopSignal: 'SIGKILL', Mounts: [{ Type: 'volume', Target: '/data' }] },
      Networks: [{ Target: 'net' }],
      RestartPolicy: { Condition: 'none' },
    },
    EndpointSpec: { Ports: [{ TargetPort: 80, PublishedPort: 8080 }] },
  })
}

async function end({ n1, engine }: Site, name: string): Promise<void> {
  // While there is a service, its tasks end by the signal that it names.
  await scale(n1, name, 0)
  await nothingIsLeft(n1, engine)
  await n1.ok(`vine service rm ${name}`)
}

/** Waits until so many tasks run, each as a container, and none else. */
async function runs({ n1, engine }: Site, count: number, everyMs = 100): Promise<void> {
  const filters = encodeURIComponent(JSON.stringify({ 'desired-state': ['running'] }))
  await until(
    async () => {
      const tasks = await n1.client.get<
        readonly { readonly Status: { readonly State: string; readonly Err?: string } }[]
      >(`/tasks?filters=${filters}`)
      const states = tasks.map(({ Status }) => `${Status.State} ${Status.Err ?? ''}`.trim())
      return (
        (states.length === count && states.every((state) => state === 'running')) ||
        Promise.reject(new Error(`${states}`))
      )
    },
    { deadlineMs: roundMs, everyMs, what: `${count} tasks to run` },
  )
  expect((await running(engine)).size).toBe(count)
}

/**
 * What the engine lists, and what it has on its disk. Namespaces count by their mounts (traces.ts): their files are the engine's, which looks after them once
 * a minute.
 */
async function keptBy({ n1, engine: { docker } }: Site): Promise<Traces> {
  const [networks, { Volumes }, images] = await Promise.all([
    docker.listNetworks(),
    docker.listVolumes(),
    docker.listImages({ all: true }),
  ])
  const files = await n1.ok(
    `ls -d /var/lib/docker/containers/* /var/lib/docker/overlay2/* /var/lib/docker/volumes/* /var/lib/docker/image/overlay2/layerdb/mounts/* \\
       /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/* 2>/dev/null || true`,
  )
  return {
    networks: networks.map(({ Name }) => Name).sort(),
    volumes: (Volumes ?? []).map(({ Name }) => Name).sort(),
    images: images.map(({ Id }) => Id).sort(),
    files: files.split('\n').sort(),
  }
}

/** Ms from the call that makes a task's sandbox to the start of its container, by the engine's clock; by task. */
async function engineTimes({ docker }: TestEngine, since: string): Promise<ReadonlyMap<string, number>> {
  const filters = { type: ['container'], event: ['create', 'start'], label: ['grapevine.task'] }
  const stream = await docker.getEvents({ since, until: now(), filters } as never)
  const chunks: Buffer[] = []
  for await (const chunk of stream as unknown as AsyncIterable<Buffer>) chunks.push(chunk)
  const made = new Map<string, number>()
  const times = new Map<string, number>()
  for (const line of Buffer.concat(chunks)
    .toString('utf8')
    .split('\n')
    .filter((text) => text !== '')) {
    const { Action, Actor, timeNano } = JSON.parse(line) as {
      readonly Action: string
      readonly Actor: { readonly Attributes: Readonly<Record<string, string>> }
      readonly timeNano: number
    }
    const task = Actor.Attributes['grapevine.task'] ?? ''
    const role = Actor.Attributes['grapevine.role']
    const madeNano = made.get(task)
    if (Action === 'create' && role === 'net') made.set(task, timeNano)
    else if (Action === 'start' && role === 'task' && madeNano !== undefined)
      times.set(task, (timeNano - madeNano) / 1e6)
  }
  return times
}

/** As the engine takes it: a whole number of seconds would leave out what has just happened. */
function now(): string {
  return (Date.now() / 1_000).toFixed(3)
}
