/**
 * What the docker runtime knows: the engine, its tasks and their containers. And how Docker's word on the end of a task is read.
 */
import { constants } from 'node:os'
import type { ContainerInspectInfo } from 'dockerode'
import type { NodeId, TaskId } from '../../../protocol/ids.ts'
import type { Exit } from '../../world.ts'
import type { Engine } from './engine.ts'
import type { Labelled } from './labels.ts'

/** Shared by the parts of the runtime, each of which says what it changes. */
export interface Known {
  readonly node: NodeId
  /** The one that answered last. */
  engine: Engine
  readonly entries: Map<TaskId, Entry>
  /** Containers that hold the namespaces of tasks that are about to start, and of those that run. */
  readonly sandboxes: Map<TaskId, string>
  /** Tasks whose containers are being made: their ids are not known yet. */
  readonly starting: Set<TaskId>
}

export interface Entry extends Labelled {
  /** Id of its container; '' until it is made. */
  container: string
  pid?: number | undefined
  /** Docker said that it runs: until then its end is the failure of its start. */
  isStarted: boolean
  /** It was heard that it ended. */
  isDead: boolean
  isStopping?: boolean
  settling?: Promise<void>
  exit?: Exit | undefined
  readonly onEnd: Set<() => void>
}

export function exitOf({ State }: ContainerInspectInfo, lastLine: string): Exit {
  const memory = State.OOMKilled ? 'it took more memory than it may' : ''
  const atMs = Date.parse(State.FinishedAt)
  return {
    code: State.ExitCode,
    signal: signalOf(State.ExitCode),
    lastLine: memory || lastLine || State.Error || '',
    atMs,
  }
}

/** Docker tells a program that a signal ended as shells do: 128 and the number. One that ends itself with such a code says the same. */
function signalOf(code: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => code === 128 + number)?.[0]
}

/** Removed by somebody, or never begun. */
export function gone(atMs: number): Exit {
  return { code: undefined, signal: undefined, lastLine: '', atMs }
}
