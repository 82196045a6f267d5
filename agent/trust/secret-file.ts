/**
 * Files that hold a key: readable by nobody else, whole or not there. Knows nothing of what is in them.
 */
import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { fault } from '../fault.ts'

/** Undefined where there is no such file. One that others may read is refused with `forbidden`. */
export function readSecret(path: string): string | undefined {
  try {
    const mode = statSync(path).mode & 0o777
    if ((mode & 0o077) !== 0) {
      throw fault(
        'forbidden',
        `${path} can be read by other users (mode ${mode.toString(8)})`,
        `Run: chmod 600 ${path}`,
      )
    }
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Complete or absent: written beside, fsynced, linked into place, so that of two first starts one key wins and both read it. */
export function writeSecret(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`
  const file = openSync(temporary, 'w', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  chmodSync(temporary, 0o600)
  try {
    linkSync(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(temporary)
  }
}
