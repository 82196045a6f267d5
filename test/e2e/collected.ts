/**
 * What an agent really holds: its memory right after a forced collection, asked through Node's inspector (SIGUSR1). Unlike a heap snapshot it takes
 * a fraction of a second, so nobody takes the agent for dead meanwhile.
 */
import { until } from '../until.ts'
import type { Agent } from './cluster.ts'

/** Live objects and the buffers that they hold, MB. */
export async function heldMb(agent: Agent): Promise<number> {
  const inspector = await connect(agent)
  try {
    await inspector.call('HeapProfiler.enable')
    // The second takes what the finalizers of the first let go.
    await inspector.call('HeapProfiler.collectGarbage')
    await inspector.call('HeapProfiler.collectGarbage')
    const expression = '((m) => m.heapUsed + m.external)(process.memoryUsage())'
    const { result } = (await inspector.call('Runtime.evaluate', { expression })) as { result: { value: number } }
    return result.value / 1024 / 1024
  } finally {
    inspector.close()
  }
}

interface Inspector {
  call(method: string, params?: object): Promise<unknown>
  close(): void
}

async function connect(agent: Agent): Promise<Inspector> {
  agent.signal('SIGUSR1')
  const url = await until(() => /listening on (ws:\S+)\n/.exec(agent.said())?.[1], {
    deadlineMs: 5_000,
    what: `the inspector of ${agent.name} to listen`,
  })
  const socket = new WebSocket(url)
  const waiting = new Map<number, (result: unknown) => void>()
  socket.onmessage = ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    if (id !== undefined) waiting.get(id)?.(result)
  }
  await new Promise((resolve, reject) => {
    socket.onopen = resolve
    socket.onerror = reject
  })
  let last = 0
  return {
    call: (method, params = {}) =>
      new Promise((resolve, reject) => {
        waiting.set(++last, resolve)
        socket.onclose = () => reject(new Error(`${agent.name} ended while its inspector was asked`))
        socket.send(JSON.stringify({ id: last, method, params }))
      }),
    close: () => socket.close(),
  }
}
