/**
 * The node's place on disk: its identity, which cluster it belongs to, and that no second agent works here at the same time.
 */
import { createHash } from 'node:crypto'
import { createServer } from 'node:net'
import { resolve } from 'node:path'
import { z } from 'zod'
import { fault } from '../fault.ts'
import type { Disk } from '../world.ts'

const fileName = 'cluster.json'
const fileSchema = z.object({ cluster: z.string(), certificate: z.string() })

/** What joining or founding gave, and what a restart needs before it can speak to anyone. */
export interface Belonging {
  readonly cluster: string
  readonly certificate: Uint8Array
}

/** Undefined for a data directory that belongs to no cluster yet. */
export async function readBelonging(disk: Disk): Promise<Belonging | undefined> {
  const bytes = await disk.read(fileName)
  if (bytes === undefined) return undefined
  try {
    const { cluster, certificate } = fileSchema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    return { cluster, certificate: Buffer.from(certificate, 'base64') }
  } catch (cause) {
    const kept = await disk.setAside(fileName)
    throw fault(
      'internal',
      `${fileName} of the data directory is damaged; it was kept as ${kept}`,
      'Join again with a token from any member: vine agent --join … --token …',
      cause,
    )
  }
}

export async function writeBelonging(disk: Disk, belonging: Belonging): Promise<void> {
  const { cluster } = belonging
  const certificate = Buffer.from(belonging.certificate).toString('base64')
  await disk.write(fileName, Buffer.from(`${JSON.stringify({ cluster, certificate })}\n`))
}

/**
 * Takes the data directory for this process. The kernel lets go of an abstract socket when its process ends, however it ends, so no
 * stale lock is ever left (unix(7)).
 */
export function lockDirectory(dataDir: string): Promise<() => void> {
  const lock = createServer()
  // A socket's name has 107 bytes, a path may have more.
  const name = `\0grapevine ${createHash('sha256').update(resolve(dataDir)).digest('hex')}`
  return new Promise((done, reject) => {
    lock.once('error', (cause) =>
      reject(
        fault(
          'conflict',
          `Another agent works in the data directory ${dataDir}`,
          'Stop it with: vine agent stop; or choose another with --data-dir',
          cause,
        ),
      ),
    )
    lock.listen(name, () => done(() => void lock.close()))
    lock.unref()
  })
}
