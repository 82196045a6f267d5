/**
 * Tasks that come and go on one machine with the linux data plane, and an agent that is killed amid it: in short for npm test, in full for npm run soak.
 *
 * What must be left is compared as a whole (traces.ts): of a cycle nothing, of a killed agent what the tasks that run then account for.
 */
import { expect } from 'vitest'
import { cableName, markOf, namespaceName } from '../../agent/dataplane/linux/names.ts'
import { type Chance, chance, pickOf } from '../fuzz.ts'
import { needs } from '../needs.ts'
import { until } from '../until.ts'
import { createLan, type Lan, type Machine, outsideAddress } from './machines.ts'
import { differences, leavesNothing, linesOf, type Traces, tracesOf } from './traces.ts'

export const agent = `vine agent --dataplane linux --preset local --upstream-dns ${outsideAddress}`
const mark = markOf('/var/lib/grapevine')
/** At one time: enough that starts and stops meet each other, and the machine is never idle. */
export const tasksAtOnce = 25

/**
 * So many tasks are started and stopped. Each of them asks for names, is asked by its published port, holds a connection to the outside open that nobody
 * ends, and asks its own service by the virtual IP.
 */
export async function startAndStop(times: number): Promise<void> {
  const { lan, n1, before } = await oneMachine()
  await n1.ok('vine network create -d overlay net')
  const program = `busybox nc ${outsideAddress} 8088 & getent hosts many; busybox wget -T 1 -q -O - http://many/; exec busybox httpd -f -p 80 -h /run`
  await n1.ok(
    `vine service create -d --name many --network net --replicas 0 --publish 8000:80 --publish 8000:80/udp --stop-grace-period 1s --restart-condition none sh -c '${program}'`,
  )
  for (let done = 0; done < times; done += tasksAtOnce) {
    await scale(n1, 'many', tasksAtOnce)
    await settles(n1)
    const { out } = await lan.outside(
      `for i in 1 2 3 4 5 6 7 8; do curl -s -o /dev/null -w '%{http_code} ' -m 3 http://${n1.address}:8000/; echo hello | busybox nc -u -w 0 ${n1.address} 8000; done`,
    )
    expect(out).toBe('404 '.repeat(8))
    await scale(n1, 'many', 0)
    await settles(n1)
  }
  await n1.ok('vine service rm many && vine network rm net')
  await leavesNothing(n1, before)
}

/** An agent is killed so many times, each time a moment after something was asked of it, and started again. */
export async function killAndStart(times: number, seed: number): Promise<void> {
  const { n1, before } = await oneMachine()
  const random = chance(`kills ${seed}`)
  process.stdout.write(`moments of seed ${seed}; VINE_SEED=${seed} replays them\n`)
  await n1.ok('vine network create -d overlay net0')
  await n1.ok(
    'vine service create -d --name web0 --network net0 --replicas 3 --restart-delay 0s --publish 8000:80 busybox httpd -f -p 80',
  )
  for (let kill = 1; kill <= times; kill++) {
    const asked = pickOf(requests, random)
    const delayMs = random() * killWithinMs
    const loses = random() < 0.2
    // Answered or cut off by the kill: both are as they should be.
    const answer = asked.ask(n1, random).catch(() => undefined)
    // Nothing is waited for: the moment is what the seed decides.
    await n1.ok(`sleep ${delayMs / 1_000}; kill -KILL $(pgrep -f "[a]gent/main.ts agent")`)
    await answer
    if (loses) await n1.run('kill -KILL $(pgrep -o -x busybox)')
    await n1.start(agent)
    await settles(n1).catch((error: unknown) => {
      throw new Error(`after kill ${kill} of seed ${seed}, ${Math.round(delayMs)} ms into "${asked.name}": ${error}`)
    })
  }
  await n1.ok('vine service rm $(vine service ls -q)')
  await settles(n1)
  // The second is there or not, as the moments had it.
  await n1.run('vine network rm net0 net1')
  await leavesNothing(n1, before)
}

/** 700 ms: three tasks are claimed, made and started in that time on a machine with two busy cores. */
const killWithinMs = 700

interface Request {
  readonly name: string
  ask(machine: Machine, random: Chance): Promise<unknown>
}

const requests: readonly Request[] = [
  { name: 'scale', ask: (machine, random) => scale(machine, 'web0', Math.floor(random() * 9)) },
  {
    name: 'a new network with tasks, or its end',
    async ask({ client }) {
      const [service] = (await services(client)).filter(({ Spec }) => Spec.Name === 'web1')
      if (service !== undefined) {
        await client.delete(`/services/${service.ID}`)
        return
      }
      await client.post('/networks/create', { Name: 'net1', Driver: 'overlay' }).catch(() => undefined)
      await client.post('/services/create', {
        Name: 'web1',
        TaskTemplate: {
          ContainerSpec: { Image: 'busybox', Command: ['busybox'], Args: ['httpd', '-f', '-p', '80'] },
          Networks: [{ Target: 'net1' }, { Target: 'net0' }],
          RestartPolicy: { Delay: 0 },
        },
        Mode: { Replicated: { Replicas: 3 } },
      })
    },
  },
  {
    name: 'another published port',
    ask: ({ client }, random) =>
      change(client, 'web0', (spec) => {
        const PublishedPort = 8000 + Math.floor(random() * 100)
        return { ...spec, EndpointSpec: { Ports: [{ Protocol: 'tcp', TargetPort: 80, PublishedPort }] } }
      }),
  },
  {
    name: 'all tasks anew',
    ask: ({ client }, random) =>
      change(client, 'web0', (spec) => {
        const { TaskTemplate } = spec
        return { ...spec, TaskTemplate: { ...TaskTemplate, ForceUpdate: Math.floor(random() * 1e6) } }
      }),
  },
]

interface Spec {
  readonly Name: string
  readonly TaskTemplate: object
  readonly Mode: { readonly Replicated: { readonly Replicas: number } }
  readonly EndpointSpec?: object
}

interface Service {
  readonly ID: string
  readonly Version: { readonly Index: number }
  readonly Spec: Spec
}

type Client = Machine['client']

const services = (client: Client) => client.get<readonly Service[]>('/services')

async function change(client: Client, name: string, into: (spec: Spec) => Spec): Promise<void> {
  const service = (await services(client)).find(({ Spec }) => Spec.Name === name)
  if (service === undefined) throw new Error(`there is no service ${name}`)
  await client.post(`/services/${service.ID}/update`, into(service.Spec), { version: service.Version.Index })
}

export const scale = ({ client }: Machine, name: string, Replicas: number) =>
  change(client, name, (spec) => ({ ...spec, Mode: { Replicated: { Replicas } } }))

async function oneMachine(): Promise<{ readonly lan: Lan; readonly n1: Machine; readonly before: Traces }> {
  for (const tool of ['busybox', 'conntrack', 'curl', 'ps']) needs(tool)
  const lan = await createLan()
  const n1 = await lan.add()
  await lan.outside('busybox nc -ll -p 8088 -e sleep 1000 </dev/null >/dev/null 2>&1 &')
  await n1.start(agent)
  return { lan, n1, before: await restingTraces(n1) }
}

/** What is there beside tasks: to be compared with what they leave. */
export async function restingTraces(machine: Machine): Promise<Traces> {
  let last: Traces | undefined
  return await until(
    async () => {
      const traces = await tracesOf(machine)
      // Twice the same: what the agent runs for a moment, such as a look at the connections, is nothing that has to come back.
      const rests = last !== undefined && differences(traces, last).length === 0
      last = traces
      return rests && traces.rules?.some((rule) => rule.includes('10778')) === true && traces
    },
    { deadlineMs: 10_000, everyMs: 100, what: 'the agent to have made what every agent has, and to rest' },
  )
}

interface ApiTask {
  readonly ID: string
  readonly DesiredState: string
  readonly Status: { readonly State: string }
  readonly NetworksAttachments?: readonly { readonly Network?: { readonly ID?: string } }[]
}

/** Waits until the tasks that are to run do, none else, and the machine has what they account for and nothing more. */
async function settles(machine: Machine): Promise<void> {
  await until(
    async () => {
      const all = await machine.client.get<readonly ApiTask[]>('/tasks')
      const wanted = (await services(machine.client)).reduce((sum, { Spec }) => sum + Spec.Mode.Replicated.Replicas, 0)
      const live = all.filter(({ Status }) => ['running', 'starting', 'preparing', 'assigned'].includes(Status.State))
      const missing = `${live.map(({ Status, DesiredState }) => `${Status.State} (${DesiredState})`)} instead of ${wanted} running`
      if (live.length !== wanted || live.some(({ Status }) => Status.State !== 'running')) throw new Error(missing)
      expect(await accountedFor(machine)).toEqual(accounts(live))
      return true
    },
    { deadlineMs: 30_000, everyMs: 100, what: 'tasks and traces to agree' },
  )
}

type Accounts = Readonly<Record<'namespaces' | 'cables' | 'files', readonly string[]>> & { readonly programs: number }

function accounts(live: readonly ApiTask[]): Accounts {
  const files = live.flatMap(({ ID }) => [`${ID}.hosts`, `${ID}.resolv`])
  return {
    namespaces: live.map(({ ID }) => namespaceName(ID, mark)).sort(),
    cables: live
      .flatMap(({ ID, NetworksAttachments = [] }) =>
        NetworksAttachments.map(({ Network }) => cableName(ID, Network?.ID ?? '')),
      )
      .sort(),
    files: files.sort(),
    programs: live.length,
  }
}

/** The same of the machine, by one shell. */
async function accountedFor(machine: Machine): Promise<Accounts> {
  const out = await machine.ok(
    `ls /run/netns; echo ---; ls /sys/class/net | grep ^vt; echo ---; ls /var/lib/grapevine/hosts; echo ---; pgrep -f '[s]him.sh' | wc -l`,
  )
  const [namespaces = '', cables = '', files = '', programs = ''] = out.split('---\n')
  return {
    namespaces: linesOf('namespaces', namespaces),
    cables: linesOf('cables', cables),
    files: linesOf('files', files),
    programs: Number(programs),
  }
}
