/**
 * Makes a folder and those above it, for paths that operators name.
 *
 * Not by `mkdir` with `recursive`: below /proc, where nobody can make a folder, Node 24 tries again for ever, a core busy and no word said.
 */
import { mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** Throws what the system says when it cannot be made; no error when it is there. New folders are the owner's alone. */
export function makeFolder(path: string): void {
  if (isFolder(path)) return
  const above = dirname(path)
  if (above !== path) makeFolder(above)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (!isFolder(path)) throw error
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
