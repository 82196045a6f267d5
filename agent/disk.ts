/**
 * The real Disk: small files of one directory, each promise resolved only when bytes and directory entry are on the disk.
 *
 * A replaced file is written beside, fsynced, renamed, and its directory fsynced, so that a power cut leaves the old or the new one whole.
 * Files are 0600 and the directory 0700: the journal holds what the cluster knows. Names come from code, never from the net.
 */
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { assert, type Fault, fault, reasonOf } from './fault.ts'
import { makeFolder } from './folder.ts'
import type { Disk } from './world.ts'

export async function openDisk(directory: string): Promise<Disk> {
  try {
    makeFolder(directory)
  } catch (cause) {
    throw diskFault(directory, 'create', cause)
  }

  function pathOf(name: string): string {
    assert(/^[a-z0-9][a-z0-9._-]*$/.test(name), `"${name}" is no name of a file in the data directory`)
    return join(directory, name)
  }

  return {
    async read(name) {
      try {
        return Uint8Array.from(await readFile(pathOf(name)))
      } catch (cause) {
        if (codeOf(cause) === 'ENOENT') return undefined
        throw diskFault(pathOf(name), 'read', cause)
      }
    },
    async write(name, bytes) {
      const path = pathOf(name)
      try {
        await writeSynced(`${path}.new`, 'w', bytes)
        await rename(`${path}.new`, path)
        await syncDirectory(directory)
      } catch (cause) {
        await rm(`${path}.new`, { force: true }).catch(() => undefined)
        throw diskFault(path, 'write', cause)
      }
    },
    async append(name, bytes) {
      const path = pathOf(name)
      try {
        if (await writeSynced(path, 'a', bytes)) await syncDirectory(directory)
      } catch (cause) {
        throw diskFault(path, 'append to', cause)
      }
    },
    async setAside(name) {
      const path = pathOf(name)
      try {
        for (let n = 1; ; n++) {
          const aside = `${name}.broken-${n}`
          if (await exists(pathOf(aside))) continue
          await rename(path, pathOf(aside))
          await syncDirectory(directory)
          return aside
        }
      } catch (cause) {
        throw diskFault(path, 'set aside', cause)
      }
    },
    async remove(name) {
      try {
        await rm(pathOf(name), { force: true })
        await syncDirectory(directory)
      } catch (cause) {
        throw diskFault(pathOf(name), 'remove', cause)
      }
    },
  }
}

/** Whether the file was empty before, and so may be new to its directory. */
async function writeSynced(path: string, flags: 'w' | 'a', bytes: Uint8Array): Promise<boolean> {
  const file: FileHandle = await open(path, flags, 0o600)
  try {
    const wasEmpty = (await file.stat()).size === 0
    await file.writeFile(bytes)
    await file.datasync()
    return wasEmpty
  } finally {
    await file.close()
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return open(path, 'r').then(
    async (file) => {
      await file.close()
      return true
    },
    () => false,
  )
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined
}

function diskFault(path: string, verb: string, cause: unknown): Fault {
  const fix =
    codeOf(cause) === 'ENOSPC'
      ? 'Free space on the disk; this node goes on serving what it knows'
      : 'Check the disk and the rights of the data directory'
  return fault('unavailable', `Cannot ${verb} ${path}: ${reasonOf(cause)}`, fix, cause)
}
