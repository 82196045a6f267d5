/**
 * `vine demo`: three real agents on this machine, one of them killed with its tasks while a client keeps asking, then brought back.
 *
 * On a terminal it goes on until `q`, and keys start further faults; with --once, or without a terminal, it plays the script and ends.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Call, on } from '../cli/definition.ts'
import { colourful } from '../cli/paint.ts'
import { top } from '../cli/top/run.ts'
import { reasonOf } from '../fault.ts'
import type { Machine } from './agents.ts'
import { failureLine, render, timelineLines } from './screen.ts'
import { figures, type Stage, setStage } from './stage.ts'
import { allHave } from './timeline.ts'

/** Time to see the cluster well before the fault, and its end before the return. */
const calmMs = 3_000
const replacedWithinMs = 20_000
const rejoinedWithinMs = 20_000
/** A returned node gets tasks after it stayed for 30 s (presets.ts rebalanceAfterMs), one at a time. */
const rebalancedWithinMs = 60_000
const drawEveryMs = 100

export async function demo(call: Call): Promise<number> {
  const { io, options } = call
  const isJson = on(options, 'json')
  const live = io.out.isTTY && !isJson && !on(options, 'once') && io.input.setRawMode !== undefined
  const say = (line: string) => (isJson ? io.err : io.out).write(`${line}\n`)
  const dir = mkdtempSync(join(tmpdir(), 'vine-demo-'))
  let stage: Stage | undefined
  let interrupted = false
  const stopInterrupt = io.onInterrupt(() => {
    interrupted = true
  })
  try {
    stage = await setStage({ dir, env: io.env }, say)
    const code = live ? await play(call, stage) : await script(stage, say, () => interrupted)
    if (isJson) io.out.write(`${JSON.stringify(figures(stage))}\n`)
    return interrupted ? 130 : code
  } finally {
    stopInterrupt()
    await stage?.close()
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** The script, in plain lines. Exit code 0 when everything that is promised was seen. */
async function script(stage: Stage, say: (line: string) => void, isOver: () => boolean): Promise<number> {
  const plain = { columns: 200, rows: 100, colour: false }
  await stage.until(isOver, calmMs)
  if (isOver()) return 130
  const victim = victimOf(stage)
  say(`Killing ${victim.name} and its tasks with SIGKILL; ${stage.requests.counts.requests} requests answered so far`)
  stage.kill(victim)
  const replaced = await stage.until(() => isOver() || done(stage, 'replacedMs'), replacedWithinMs)
  await stage.until(isOver, calmMs)
  say(`Starting ${victim.name} again with its data directory`)
  await stage.bringBack()
  const rejoined = await stage.until(() => isOver() || done(stage, 'rejoinedMs'), rejoinedWithinMs)
  say('It is given tasks again when it has stayed for 30 s')
  const rebalanced = await stage.until(() => isOver() || stage.rebalancedMs() !== undefined, rebalancedWithinMs)
  const shown = stage.shown('')
  for (const line of timelineLines(shown, plain)) say(line)
  say('')
  say(`${shown.requests} requests, ${shown.failed} failed`)
  for (const failure of shown.failures) say(`  ${failureLine(failure)}`)
  return replaced && rejoined && rebalanced ? 0 : 1
}

/** On a terminal: the script begins by itself, keys do more. */
function play(call: Call, stage: Stage): Promise<number> {
  const { io } = call
  let note = 'All is well; in a few seconds one machine is killed'
  let isTop = false
  let over = false
  const draw = () => {
    if (isTop || over) return
    const size = { ...io.out.size(), colour: colourful(io.out, io.env) }
    const lines = render(stage.shown(note), size)
    io.out.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\r\n')}\u001b[J`)
  }
  const act = (text: string, what: () => void | Promise<void>) => {
    note = text
    Promise.resolve()
      .then(what)
      .catch((error: unknown) => {
        note = reasonOf(error)
      })
  }
  return new Promise((resolve) => {
    const timer = setInterval(draw, drawEveryMs)
    const enter = () => {
      io.out.write('\u001b[?1049h\u001b[?25l')
      io.input.setRawMode?.(true)
      io.input.resume()
      io.input.on('data', onKey)
    }
    const leave = () => {
      io.input.off('data', onKey)
      io.input.setRawMode?.(false)
      io.input.pause()
      io.out.write('\u001b[?25h\u001b[?1049l')
    }
    const end = () => {
      if (over) return
      over = true
      clearInterval(timer)
      stopInterrupt()
      stopResize()
      leave()
      resolve(0)
    }
    const stopInterrupt = io.onInterrupt(end)
    const stopResize = io.out.onResize(draw)
    function onKey(chunk: Buffer): void {
      for (const key of chunk.toString('utf8')) {
        const up = stage.machines.all.filter((m) => m.state === 'up')
        const busy = up.length < stage.machines.all.length || stage.shown('').cut
        if (key === 'q' || key === '\u0003') {
          end()
          return
        }
        if ('kfp'.includes(key) && busy) note = 'One fault at a time: b brings it back'
        else if (key === 'k') act('Killed; watch the timeline', () => stage.kill(victimOf(stage)))
        else if (key === 'f') act('Frozen; watch the timeline', () => stage.freeze(victimOf(stage)))
        else if (key === 'p') act('Cut: one machine here, two there; both sides serve', () => stage.cut())
        else if (key === 'b') {
          act('Coming back', async () => {
            await stage.bringBack()
            if (await stage.until(() => over || done(stage, 'rejoinedMs'), rejoinedWithinMs)) note = 'Back'
          })
        } else if (key === 't' && up[0] !== undefined) void showTop(up[0])
      }
    }
    async function showTop(machine: Machine): Promise<void> {
      isTop = true
      leave()
      try {
        await top({ ...call, options: {}, api: machine.client })
      } catch (error) {
        note = reasonOf(error)
      }
      isTop = false
      if (!over) enter()
    }
    enter()
    void opening(
      stage,
      () => over,
      (text) => {
        note = text
      },
    )
  })
}

/** What happens by itself on a terminal: one kill, one return. A key pressed before takes over. */
async function opening(stage: Stage, isOver: () => boolean, note: (text: string) => void): Promise<void> {
  await stage.until(isOver, calmMs)
  if (isOver() || stage.timeline() !== undefined) return
  const victim = victimOf(stage)
  stage.kill(victim)
  note(`${victim.name} was killed with its tasks; it comes back in a moment`)
  await stage.until(() => isOver() || done(stage, 'replacedMs'), replacedWithinMs)
  await stage.until(isOver, calmMs)
  if (isOver() || victim.state !== 'down') return
  await stage.bringBack()
  note(`${victim.name} is back; it is given tasks again when it has stayed for 30 s`)
  await stage.until(() => isOver() || stage.rebalancedMs() !== undefined, rebalancedWithinMs)
  note('Your turn')
}

/** A machine that runs a task, but not the first: its commands stay pasted on the screen. */
function victimOf(stage: Stage): Machine {
  const shown = stage.shown('').machines
  const index = shown.findLastIndex((m) => m.tasks > 0 && m.state === 'up')
  return stage.machines.all[Math.max(1, index)] as Machine
}

function done(stage: Stage, mark: 'replacedMs' | 'rejoinedMs'): boolean {
  const timeline = stage.timeline()
  return timeline !== undefined && allHave(timeline, mark)
}
