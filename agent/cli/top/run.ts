/**
 * `vine top`: looks every second, draws when something came or a key was pressed, and gives the terminal back however it ends.
 */

import { Fault } from '../../fault.ts'
import { readEvents } from '../cluster/events.ts'
import { readVerdict } from '../cluster/status.ts'
import { type Call, on } from '../definition.ts'
import type { Node, Service, Task } from '../docker.ts'
import type { FlowCounters } from '../grapevine.ts'
import { selfId } from '../node/find.ts'
import { colourful } from '../paint.ts'
import { keysOf, press } from './keys.ts'
import { type Picture, picture, type Snapshot } from './model.ts'
import { type Choice, firstChoice, render } from './render.ts'

/** 1 s: rates are a second's, and six small requests a second cost an agent nothing. */
const lookEveryMs = 1_000
/** The screen that programs draw on, without a cursor; and back to the one with the shell's lines. */
const otherScreen = '\u001b[?1049h\u001b[?25l'
const ownScreen = '\u001b[?25h\u001b[?1049l'

export async function top(call: Call): Promise<number> {
  const { io } = call
  const first = await look(call)
  if (on(call.options, 'once') || !io.out.isTTY || io.input.setRawMode === undefined) {
    const { columns, rows } = io.out.size()
    io.out.write(`${render(picture(first, undefined), firstChoice, { columns, rows, colour: false }).join('\n')}\n`)
    return 0
  }
  return watch(call, first)
}

function watch(call: Call, first: Snapshot): Promise<number> {
  const { io } = call
  let [before, now]: [Snapshot | undefined, Snapshot] = [undefined, first]
  let choice: Choice = firstChoice
  let shown: Picture = picture(first, undefined)
  let trouble: string | undefined
  let timer: NodeJS.Timeout | undefined
  const draw = () => {
    const size = { ...io.out.size(), colour: colourful(io.out, io.env) }
    const lines = render(trouble === undefined ? shown : silent(shown, trouble), choice, size)
    io.out.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\r\n')}\u001b[J`)
  }
  const refresh = async () => {
    try {
      ;[before, now] = [now, await look(call)]
      shown = picture(now, before)
      trouble = undefined
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      // The agent may be restarting: the last picture stays, under the sentence that says why it is old.
      trouble = error.message
    }
    draw()
  }
  return new Promise<number>((resolve, reject) => {
    const onData = (chunk: Buffer) => {
      for (const key of keysOf(chunk.toString('utf8'))) {
        const next = press(key, choice, shown)
        if (next === 'quit') return end(0)
        choice = next
      }
      draw()
    }
    const stopResize = io.out.onResize(draw)
    const stopInterrupt = io.onInterrupt(() => end(0))
    // Node gives the keyboard back by itself, and not the screen, which would keep the last words of a crash to itself.
    const stopExit = io.onExit(() => io.out.write(ownScreen))
    const loop = () => {
      refresh().then(() => {
        if (timer !== undefined) timer = setTimeout(loop, lookEveryMs)
      }, end)
    }
    function end(result: unknown) {
      clearTimeout(timer)
      timer = undefined
      stopResize()
      stopInterrupt()
      stopExit()
      io.input.off('data', onData)
      io.input.setRawMode?.(false)
      io.input.pause()
      io.out.write(ownScreen)
      if (typeof result === 'number') resolve(result)
      else reject(result)
    }
    io.out.write(otherScreen)
    io.input.setRawMode?.(true)
    io.input.on('data', onData)
    io.input.resume()
    draw()
    timer = setTimeout(loop, lookEveryMs)
  })
}

function silent(shown: Picture, why: string): Picture {
  return { ...shown, verdict: { well: false, summary: why, problems: [`${why}; this is what it told last`] } }
}

async function look(call: Call): Promise<Snapshot> {
  const { api, io } = call
  const atMs = io.now()
  const [verdict, nodes, services, tasks, flows, changes, self] = await Promise.all([
    readVerdict(call),
    api.get<readonly Node[]>('/nodes'),
    api.get<readonly Service[]>('/services', { status: true }),
    api.get<readonly Task[]>('/tasks'),
    api.get<readonly FlowCounters[]>('/grapevine/flows'),
    readEvents(call, { sinceMs: atMs - 60_000, untilMs: atMs }),
    selfId(call),
  ])
  return { atMs, verdict, nodes, services, tasks, flows, changes, selfId: self }
}
