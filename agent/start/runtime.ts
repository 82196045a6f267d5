/**
 * Which runtime this agent has: containers where Docker answers, processes where it does not or is not wanted. The docker runtime and its client are loaded
 * only where it is chosen.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeId } from '../../protocol/ids.ts'
import type { AgentConfig } from '../config.ts'
import { fault, reasonOf } from '../fault.ts'
import { createProcessRuntime } from '../runtime/process/runtime.ts'
import type { Clock, Runtime } from '../world.ts'
import type { Chosen } from './dataplane.ts'
import type { Outside } from './edges.ts'

export interface ChosenRuntime {
  readonly kind: Runtime['name']
  /** Of Docker. */
  readonly version?: string
  /** Why it is not docker, where `auto` found its socket. */
  readonly reason?: string
}

/** 30 s: a machine that boots starts its engine and this agent in any order. */
const bootMs = 30_000
const againMs = 500

/** Throws where Docker was asked for and does not answer, or is too old. */
export async function openRuntime(
  { node, runtime: { kind, socket, logins } }: AgentConfig,
  self: NodeId,
  { clock, log, plane }: Pick<Outside, 'clock' | 'log'> & { readonly plane: Chosen['kind'] },
): Promise<{ readonly runtime: Runtime; readonly chosen: ChosenRuntime }> {
  const processes = (reason?: string) => ({
    runtime: createProcessRuntime({ dir: join(node.dataDir, 'tasks'), clock, log }),
    chosen: { kind: 'process' as const, ...(reason === undefined ? {} : { reason }) },
  })
  // The last choice: tasks of it may be here, which only their own runtime adopts.
  const memory = join(node.dataDir, 'runtime')
  const wasDocker = remembered(memory) === 'docker'
  const mayBeThere = socket !== undefined && (wasDocker || existsSync(socket))
  if (kind === 'process' || (kind === 'auto' && !mayBeThere)) {
    rmSync(memory, { force: true })
    return processes()
  }
  if (socket === undefined)
    throw fault(
      'invalid',
      'Tasks are to be containers, and no Docker is to be used',
      'Name its socket with --docker-socket',
    )
  const { openEngine } = await import('../runtime/docker/engine.ts')
  try {
    const engine = await patiently(() => openEngine(socket), { clock, waitMs: wasDocker ? bootMs : 0 })
    const { createDockerRuntime } = await import('../runtime/docker/runtime.ts')
    const network = plane === 'linux' ? 'none' : 'bridge'
    const runtime = createDockerRuntime({ engine, socketPath: socket, node: self, network, logins, clock, log })
    writeFileSync(memory, 'docker\n')
    return { runtime, chosen: { kind: 'docker', version: engine.version } }
  } catch (thrown) {
    if (kind === 'docker') throw thrown
    log.warn('tasks are processes, not containers', { reason: reasonOf(thrown) })
    return processes(reasonOf(thrown))
  }
}

function remembered(memory: string): string {
  try {
    return readFileSync(memory, 'utf8').trim()
  } catch {
    // A first start.
    return ''
  }
}

async function patiently<T>(
  open: () => Promise<T>,
  { clock, waitMs }: { readonly clock: Clock; readonly waitMs: number },
): Promise<T> {
  const untilMs = clock.now() + waitMs
  for (;;) {
    try {
      return await open()
    } catch (thrown) {
      if (clock.now() >= untilMs) throw thrown
      await new Promise<void>((resolve) => void clock.after(againMs, resolve))
    }
  }
}
