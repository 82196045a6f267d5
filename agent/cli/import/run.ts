/** `vine import --from-swarm`: reads a Swarm, shows what would be done, asks, and does it. It changes nothing in the Swarm. */
import { createInterface } from 'node:readline/promises'
import { Fault, fault } from '../../fault.ts'
import { addressOf, type Client, certificateFolder, createClient } from '../client.ts'
import { type Call, on, text } from '../definition.ts'
import type { Network, Service } from '../docker.ts'
import { tellFault } from '../tell.ts'
import { exit, usage } from '../usage.ts'
import { planImport, type Step, type Swarm } from './plan.ts'

export async function importSwarm(call: Call): Promise<number> {
  const { io, options } = call
  if (!on(options, 'fromSwarm'))
    throw usage('vine import takes --from-swarm', 'Read a Swarm with: vine import --from-swarm')
  const host = text(options, 'host') ?? io.env.DOCKER_HOST ?? 'unix:///var/run/docker.sock'
  const swarm = createClient(host.replace(/^unix:\/\//, ''), { certificates: certificateFolder(io.env) })
  const steps = planImport(await readSwarm(swarm), await readAll(call.api))
  io.out.write(steps.length === 0 ? 'The Swarm has no services and no networks\n' : steps.map(lineOf).join(''))
  const wanted = steps.filter(({ does }) => does.do === 'create')
  if (on(options, 'dryRun') || wanted.length === 0) return exit.ok
  if (!on(options, 'yes') && !(await agreed(call, wanted.length))) return exit.error
  return await apply(call, wanted)
}

async function readSwarm(swarm: Client): Promise<Swarm> {
  try {
    return await readAll(swarm)
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'unavailable') throw error
    const fix =
      'Name a manager of the Swarm with --host unix://… or tcp://…; tcp needs certificates in DOCKER_CERT_PATH'
    throw fault('unavailable', `No Swarm manager answers at ${addressOf(swarm.socket)}: ${error.message}`, fix, error)
  }
}

async function readAll(api: Client): Promise<Swarm> {
  const [networks, services] = await Promise.all([
    api.get<readonly Network[]>('/networks'),
    api.get<readonly Service[]>('/services'),
  ])
  return { networks, services }
}

/** `create   service shop_web (stack shop)`, and below it what to know. */
function lineOf({ kind, name, body, does }: Step): string {
  const stack = body.Labels?.['com.docker.stack.namespace']
  const first = `${does.do.padEnd(8)} ${kind} ${name}${stack === undefined ? '' : ` (stack ${stack})`}`
  const more =
    does.do === 'create'
      ? does.notes
      : does.do === 'differs'
        ? [`here it is another in ${does.fields.join(', ')}; it is left as it is`]
        : does.do === 'refuse'
          ? [does.why]
          : []
  return [first, ...more.map((line) => `         ${line}`)].map((line) => `${line}\n`).join('')
}

async function agreed({ io }: Call, count: number): Promise<boolean> {
  if (io.input.isTTY !== true)
    throw usage('Nobody is here to ask', 'Look with --dry-run, then repeat the command with --yes')
  io.out.write(`Create ${count} of them here? [y/N] `)
  const lines = createInterface({ input: io.input })
  const { value } = await lines[Symbol.asyncIterator]().next()
  lines.close()
  return /^y(es)?$/i.test(String(value ?? '').trim())
}

/** Goes on after a refusal: one service that cannot be here keeps no other away. */
async function apply({ api, io, warn }: Call, steps: readonly Step[]): Promise<number> {
  let code: number = exit.ok
  for (const { kind, name, body } of steps) {
    try {
      const made = await api.post<{ readonly Warnings?: readonly string[]; readonly Warning?: string }>(
        `/${kind}s/create`,
        body,
      )
      warn([...(made.Warnings ?? []), ...(made.Warning ? [made.Warning] : [])])
      io.out.write(`Created ${kind} ${name}\n`)
    } catch (error) {
      if (!(error instanceof Fault) || error.code === 'unavailable' || error.code === 'forbidden') throw error
      tellFault(fault(error.code, `${kind} ${name}: ${error.message}`, error.fix, error), io)
      code = exit.error
    }
  }
  return code
}
