/** A bound on how many calls of one kind are under way; the others wait in the order in which they came. */

export type Turns = <T>(call: () => Promise<T>) => Promise<T>

export function createTurns(atOnce: number): Turns {
  const waiting: (() => void)[] = []
  let underWay = 0

  return async (call) => {
    // Invariant: who is woken has been given the turn of the one who woke it.
    if (underWay < atOnce) underWay++
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await call()
    } finally {
      const next = waiting.shift()
      if (next === undefined) underWay--
      else next()
    }
  }
}
