/** Two streams of lines as one, as they come: what the swarm tells and what the engine of this machine tells. One item a stream is held, no more. */

/** 2 s: an engine that lives has told its past by then. */
const graceMs = 2_000

/**
 * Ends when `ours` has ended and `theirs` has, or `graceMs` later: an engine that hangs holds up nobody. `end` makes `theirs` end and is
 * always called.
 */
export async function* together<T>(
  ours: AsyncGenerator<T>,
  theirs: AsyncGenerator<T>,
  end: () => void,
): AsyncGenerator<T> {
  const step = (source: AsyncGenerator<T>) => source.next().then((result) => ({ source, result }))
  const waiting = new Map([ours, theirs].map((source) => [source, step(source)]))
  let timer: NodeJS.Timeout | undefined
  try {
    while (waiting.size > 0) {
      const { source, result } = await Promise.race(waiting.values())
      if (result.done === true) {
        waiting.delete(source)
        if (source === ours) timer = setTimeout(end, graceMs)
        continue
      }
      waiting.set(source, step(source))
      yield result.value
    }
  } finally {
    clearTimeout(timer)
    end()
  }
}
