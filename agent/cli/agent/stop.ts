/** `vine agent stop`: asks the agent to end, and waits until its socket is silent. */
import { setTimeout as pause } from 'node:timers/promises'
import { Fault } from '../../fault.ts'
import { type Call, on } from '../definition.ts'
import { usage } from '../usage.ts'

/** 30 s: a drain waits for the grace period of each task, 10 s unless set otherwise, and for members to take note. */
const waitMs = 30_000
/** 1 s: whoever waits longer is told for what. */
const tellMs = 1_000

export async function stop(call: Call): Promise<number> {
  if (call.args[0] !== 'stop')
    throw usage(`unknown word "${call.args[0]}" after vine agent`, 'There is only: vine agent stop')
  const keepTasks = on(call.options, 'keepTasks')
  await call.api.post('/grapevine/stop', {}, keepTasks ? { 'keep-tasks': true } : {})
  const askedMs = call.io.now()
  let isTold = false
  while (call.io.now() < askedMs + waitMs) {
    if (await isSilent(call)) {
      call.io.out.write(
        keepTasks ? 'The agent has stopped; its tasks run on.\n' : 'The agent has left the cluster and stopped.\n',
      )
      return 0
    }
    if (!isTold && call.io.now() > askedMs + tellMs) {
      call.io.err.write(
        keepTasks ? 'The agent is stopping\n' : 'The agent is stopping: its tasks have their grace period to end\n',
      )
      isTold = true
    }
    await pause(100)
  }
  throw new Fault('timeout', 'The agent is still stopping: a task takes long to end', {
    fix: 'It goes on by itself; look again with: vine status',
  })
}

async function isSilent({ api }: Call): Promise<boolean> {
  try {
    await api.get('/_ping')
    return false
  } catch (error) {
    if (error instanceof Fault && error.code === 'unavailable') return true
    throw error
  }
}
