// What set-up says while a child process works: how far it is, how it ended, and failures with what to do about them.
// Plain JavaScript for Node 20, like setup.mjs.
import { createInterface } from 'node:readline'

/** 5 s: seen to move, and a log without a terminal stays readable when the network is slow for minutes. */
const PLAIN_EVERY_MS = 5_000
/** 150 ms: a line that is rewritten in place may follow the work closely. */
const TERMINAL_EVERY_MS = 150

/** An expected failure of set-up: what happened, then what to do. */
export class SetupError extends Error {
  constructor(message, fix) {
    super(message)
    this.fix = fix
  }
}

/** Prints `line()` now and again: one rewritten line on a terminal, plain lines (only changed ones) without. */
export function progress(line) {
  const terminal = process.stderr.isTTY === true
  let last = ''
  const print = () => {
    const text = `  ${line()}`
    if (terminal) process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns || 80) - 1)}`)
    else if (text !== last) say(text)
    last = text
  }
  const timer = setInterval(print, terminal ? TERMINAL_EVERY_MS : PLAIN_EVERY_MS)
  return {
    stop() {
      clearInterval(timer)
      if (terminal) process.stderr.write('\r\x1b[K')
    },
  }
}

/** Child processes at work. */
const children = new Set()

/** Resolves to undefined when the child ended well, else to how it ended. */
export function ended(child) {
  children.add(child)
  return new Promise((resolve) => {
    const done = (how) => {
      children.delete(child)
      resolve(how)
    }
    child.on('error', (error) => done(`could not be started: ${error.message}`))
    child.on('close', (code, signal) => {
      if (code === 0) done(undefined)
      else done(signal === null ? `ended with exit code ${code}` : `was stopped by ${signal}`)
    })
  })
}

/** Ends what is at work, for a set-up that was told to stop. At once: npm, asked to stop, first finishes what it is at. */
export function endChildren() {
  for (const child of children) child.kill('SIGKILL')
}

export function eachLine(child, take) {
  for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', take)
}

export function seconds(started) {
  return Math.round((Date.now() - started) / 1000)
}

/** Set-up speaks on stderr: `vine service ls --json` in a fresh clone must print JSON only. */
export function say(text) {
  // On a terminal a line of progress may stand there: it goes.
  process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[K' : ''}${text}\n`)
}
