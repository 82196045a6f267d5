/** What the facts of a machine mean for an agent: `ok`, or a sentence and a fix. Pure. */
import { addressOf } from '../client.ts'
import type { Finding } from '../grapevine.ts'
import { bytesText } from '../wording.ts'

export interface Facts {
  readonly agentRuns: boolean
  readonly socket: string
  readonly socketExists: boolean
  readonly dataDir: string
  readonly port: number
  /** System code such as EADDRINUSE; undefined: it can be bound. */
  readonly portError: string | undefined
  readonly meshError: string | undefined
  readonly dns: readonly { readonly port: number; readonly error: string | undefined }[]
  readonly filesMax: number | undefined
  readonly disk: { readonly freeBytes: number; readonly totalBytes: number }
  /** Undefined: nothing on this machine says so. */
  readonly clockSynchronized: boolean | undefined
  /** What an agent left in the kernel, as `device vt0abc`. */
  readonly inKernel: readonly string[]
  /** Tasks that run though no agent does. */
  readonly orphans: readonly { readonly pid: number; readonly task: string }[]
}

/** Two descriptors a flow: 5,000 idle connections and room for as many more need four times 5,000. */
const filesWanted = 20_000
/** Journal, logs of tasks (capped) and room to set a broken journal aside. */
const diskWanted = 512 * 1024 * 1024

export function judge(facts: Facts): readonly Finding[] {
  return [agent(facts), ports(facts), files(facts), dns(facts), disk(facts), clock(facts), leftovers(facts)]
}

function agent({ agentRuns, socket }: Facts): Finding {
  return agentRuns
    ? fine('agent')
    : wrong('agent', `none answers at ${addressOf(socket)}`, 'Start one with: vine agent')
}

function ports({ agentRuns, port, portError, meshError }: Facts): Finding {
  if (agentRuns) return fine('ports')
  const bad = [
    ...(portError === undefined ? [] : [{ number: port, use: 'members', error: portError }]),
    ...(meshError === undefined ? [] : [{ number: port + 1, use: 'the mesh', error: meshError }]),
  ]
  if (bad.length === 0) return fine('ports', `${port} and ${port + 1}`)
  const sentences = bad.map(({ number, use, error }) => `port ${number}, for ${use}, ${reason(error)}`)
  return wrong(
    'ports',
    sentences.join('; '),
    `End what holds it, or start the agent on others: vine agent --listen /ip4/0.0.0.0/tcp/${port + 100}`,
  )
}

function files({ filesMax }: Facts): Finding {
  if (filesMax === undefined || filesMax >= filesWanted) return fine('file limit')
  return wrong(
    'file limit',
    `${filesMax} open files hold about ${Math.floor(filesMax / 2)} connections`,
    `Raise it before the agent starts: ulimit -n ${filesWanted}`,
  )
}

function dns({ dns: tried }: Facts): Finding {
  const free = tried.find(({ error }) => error === undefined)
  if (tried.length === 0 || free !== undefined) return fine('DNS port', free === undefined ? '' : String(free.port))
  const sentences = tried.map(({ port, error }) => `port ${port} ${reason(error ?? '')}`)
  return wrong('DNS port', sentences.join('; '), 'Choose another: vine agent --dns-port 20053')
}

function disk({ dataDir, disk: { freeBytes } }: Facts): Finding {
  if (freeBytes >= diskWanted) return fine('disk', `${bytesText(freeBytes)} free`)
  return wrong(
    'disk',
    `${dataDir} has ${bytesText(freeBytes)} free`,
    'Free some, or choose another place: vine agent --data-dir PATH',
  )
}

function clock({ clockSynchronized }: Facts): Finding {
  return fine('clock', clockSynchronized ? 'synchronized' : 'members compare theirs while an agent runs')
}

function leftovers({ agentRuns, socket, socketExists, orphans, inKernel }: Facts): Finding {
  if (agentRuns) return fine('leftovers')
  if (orphans.length > 0)
    return wrong(
      'leftovers',
      `${orphans.length} ${orphans.length === 1 ? 'task runs' : 'tasks run'} without an agent (pid ${orphans.map(({ pid }) => pid).join(', ')})`,
      'Start the agent, which adopts them; or end them with kill',
    )
  if (inKernel.length > 0)
    return wrong('leftovers', `the kernel holds what no task needs: ${inKernel.join(', ')}`, 'vine doctor --clean')
  return fine('leftovers', socketExists ? `the socket ${socket} of an earlier agent, which the next one replaces` : '')
}

function reason(code: string): string {
  if (code === 'EADDRINUSE') return 'is taken by another program'
  return code === 'EACCES' ? 'needs root' : `cannot be bound (${code})`
}

function fine(check: string, sentence = ''): Finding {
  return { check, ok: true, sentence }
}

function wrong(check: string, sentence: string, fix: string): Finding {
  return { check, ok: false, sentence, fix }
}
