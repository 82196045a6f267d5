/**
 * Takes the unix socket that the API listens on: 0600 in a directory of 0700, never from a live agent.
 *
 * A socket that nothing accepts on is left over from an agent that died, and is replaced. One that accepts belongs to a live agent, even if
 * it answers nothing (it may be stopped in a debugger), and is refused.
 */
import fs from 'node:fs'
import type http from 'node:http'
import net from 'node:net'
import path from 'node:path'
import { fault, reasonOf } from '../fault.ts'
import { makeFolder } from '../folder.ts'

/** Bytes of a socket path that Linux takes (sun_path, 108 with its end). */
const pathBytesMax = 107

export async function listenOnSocket(server: http.Server, socket: string): Promise<void> {
  if (Buffer.byteLength(socket) > pathBytesMax) {
    throw fault(
      'invalid',
      `The socket path ${socket} is longer than ${pathBytesMax} bytes`,
      'Choose a shorter one with --socket',
    )
  }
  try {
    makeFolder(path.dirname(socket))
  } catch (cause) {
    throw fault(
      'invalid',
      `Cannot make the directory of ${socket}: ${reasonOf(cause)}`,
      'Choose another with --socket',
      cause,
    )
  }
  if (await accepts(socket)) {
    throw fault(
      'conflict',
      `An agent already answers at unix://${socket}`,
      'Stop it with: vine agent stop, or choose another path with --socket',
    )
  }
  removeStale(socket)
  await listen(server, socket)
}

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect(socket)
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    // EAGAIN: its queue of connections is full, so something does listen.
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'))
  })
}

function removeStale(socket: string): void {
  const found = fs.lstatSync(socket, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw fault('conflict', `${socket} exists and is not a socket`, 'Choose another path with --socket')
  }
  fs.unlinkSync(socket)
}

function listen(server: http.Server, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        fault('unavailable', `Cannot listen at ${socket}: ${reasonOf(cause)}`, 'Choose another with --socket', cause),
      )
    })
    // bind() runs inside listen(): the file never exists with wider rights than 0600.
    const before = process.umask(0o177)
    try {
      server.listen(socket, () => resolve())
    } finally {
      process.umask(before)
    }
  })
}
