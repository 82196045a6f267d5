/** CPUs, memory and processes that a task is given at most and at least, from flags over those there are. Pure. */
import type { ServiceSpec } from '../../../protocol/spec.ts'
import { type Options, text, whole } from '../definition.ts'
import { parseBytes, parseCpus } from './words.ts'

type Resources = NonNullable<ServiceSpec['TaskTemplate']['Resources']>
type Amounts = NonNullable<Resources['Limits']>

/** Undefined when nothing is said at all. */
export function resources(options: Options, before?: Resources): Resources | undefined {
  const limits = amounts(options, 'limit')
  const reservations = amounts(options, 'reserve')
  if (limits === undefined && reservations === undefined) return before
  return {
    ...before,
    ...(limits === undefined ? {} : { Limits: { ...before?.Limits, ...limits } }),
    ...(reservations === undefined ? {} : { Reservations: { ...before?.Reservations, ...reservations } }),
  }
}

function amounts(options: Options, word: 'limit' | 'reserve'): Amounts | undefined {
  const [cpu, memory] = [text(options, `${word}Cpu`), text(options, `${word}Memory`)]
  const pids = whole(options, `${word}Pids`)
  const asked = {
    ...(cpu === undefined ? {} : { NanoCPUs: parseCpus(cpu, `--${word}-cpu`) }),
    ...(memory === undefined ? {} : { MemoryBytes: parseBytes(memory, `--${word}-memory`) }),
    ...(pids === undefined ? {} : { Pids: pids }),
  }
  return Object.keys(asked).length === 0 ? undefined : asked
}
