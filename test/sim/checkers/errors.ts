// No node logs an error of its own making: a broken invariant, a pass that failed. A full disk, a torn journal and a double are told as errors
// too, and are what the faults make.
import { Broken, type Checker } from './checker.ts'

const expected = [/journal/, /runs under the id of this node/]

export function noErrors(): Checker {
  const promise = 'no node breaks an invariant of its own'
  return {
    promise,
    onTold({ what }) {
      if (what.is !== 'error' || expected.some((pattern) => pattern.test(what.message))) return
      const seen = `${what.agent.machine.name} says: ${what.message} ${JSON.stringify(what.fields)}`
      throw new Broken({ promise, seen, machines: [what.agent.machine] })
    },
  }
}
