// One set-up at a time in one checkout, by a lock file that is created whole and names its holder.
// Plain JavaScript for Node 20, like setup.mjs. It must never wait for a dead holder, nor for ever.
import { linkSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'

/** 10 min: a slow line fetches 150 MB in that time; beyond it something else is wrong. */
const WAIT_MAX_MS = 600_000
/** The holder touches its lock this often … */
const TOUCH_EVERY_MS = 1_000
/** … and a lock of another machine or container, whose pid means nothing here, is dead when untouched for 20 s. */
const UNTOUCHED_MAX_MS = 20_000

/** Runs `work` while holding `lock`; waits for a living holder and says so once. */
export async function alone(lock, say, work) {
  const mine = `${lock}.${process.pid}`
  writeFileSync(mine, JSON.stringify({ pid: process.pid, host: hostname(), born: born(process.pid) }))
  try {
    await take(lock, mine, say)
  } finally {
    rmSync(mine, { force: true })
  }
  const touching = setInterval(() => {
    const now = new Date()
    // Somebody may have removed the file by hand: then there is nothing to touch.
    if (read(lock) !== undefined) utimesSync(lock, now, now)
  }, TOUCH_EVERY_MS)
  const onExit = () => rmSync(lock, { force: true })
  process.on('exit', onExit)
  try {
    return await work()
  } finally {
    clearInterval(touching)
    process.off('exit', onExit)
    onExit()
  }
}

async function take(lock, mine, say) {
  const deadline = Date.now() + WAIT_MAX_MS
  let told = false
  while (!linked(mine, lock)) {
    const holder = read(lock)
    if (holder === undefined) continue
    if (isDead(holder)) {
      setAside(lock, `${mine}.dead`, holder)
      continue
    }
    if (Date.now() > deadline) {
      const fix = `End process ${holder.pid}, or remove ${lock}, then run the command again.`
      throw Object.assign(new Error(`another set-up (pid ${holder.pid}) is at work for more than 10 min`), { fix })
    }
    if (!told) say(`Another set-up (pid ${holder.pid}) is at work in this checkout; waiting for it.`)
    told = true
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** A link appears with its whole content or not at all, unlike a file that is opened and then written. */
function linked(from, to) {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  }
}

/**
 * Removes the lock of a dead holder. Between the look and the rename somebody else may have done the same and taken the lock:
 * then what was renamed is theirs and is put back.
 */
function setAside(lock, aside, holder) {
  try {
    renameSync(lock, aside)
  } catch (error) {
    if (error.code === 'ENOENT') return
    throw error
  }
  if (read(aside)?.text !== holder.text) linked(aside, lock)
  rmSync(aside, { force: true })
}

function read(lock) {
  try {
    const text = readFileSync(lock, 'utf8')
    return { ...JSON.parse(text), text, touched: statSync(lock).mtimeMs }
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function isDead(holder) {
  if (holder.host !== hostname()) return Date.now() - holder.touched > UNTOUCHED_MAX_MS
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    return error.code === 'ESRCH'
  }
  // The pid lives, but is it the same process? Linux tells when it was born.
  return born(holder.pid) !== holder.born
}

function born(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
