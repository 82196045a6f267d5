/** Follows the event stream of an agent as any client can: one JSON a line, stamped by us when it arrives. */
import type { Machine } from './swarm.ts'

export interface Heard {
  readonly type: string
  readonly action: string
  readonly id: string
  readonly sentence: string
  /** Monotonic ms of the observer. */
  readonly heardMs: number
}

/** Until the returned function is called. `onOpen` is called when the stream has begun. */
export function readEvents(
  machine: Machine,
  listener: (event: Heard) => void,
  onOpen: () => void = () => {},
): () => void {
  const abort = new AbortController()
  void follow()
  return () => abort.abort()

  async function follow(): Promise<void> {
    try {
      const stream = await machine.client.stream('/grapevine/events', {}, abort.signal)
      onOpen()
      let rest = ''
      stream.setEncoding('utf8')
      for await (const text of stream as AsyncIterable<string>) {
        const heardMs = performance.now()
        const lines = (rest + text).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) if (line !== '') listener({ ...JSON.parse(line), heardMs })
      }
    } catch (error) {
      if (!abort.signal.aborted) throw error
    }
  }
}

/** What an agent tells of a time that is over, as lines: ms from its beginning, and the sentence. */
export async function pastEvents({ client }: Machine, sinceMs: number, untilMs: number): Promise<readonly string[]> {
  const query = { since: (sinceMs / 1_000).toFixed(3), until: (untilMs / 1_000).toFixed(3) }
  const stream = await client.stream('/grapevine/events', query)
  let text = ''
  for await (const chunk of stream.setEncoding('utf8') as AsyncIterable<string>) text += chunk
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as { readonly atMs: number; readonly sentence: string })
    .map(({ atMs, sentence }) => `${Math.round(atMs - sinceMs)} ms: ${sentence}`)
}
