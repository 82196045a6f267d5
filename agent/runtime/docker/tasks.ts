/**
 * What the docker runtime knows of a task, and how Docker's word on its end is read.
 */
import { constants } from 'node:os'
import type { ContainerInspectInfo } from 'dockerode'
import type { Exit } from '../../world.ts'
import type { Labelled } from './labels.ts'

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
