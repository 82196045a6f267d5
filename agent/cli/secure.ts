/**
 * Asks an agent over TCP (`--socket tcp://host:port`): TLS with certificates on both sides, in the files that Docker's client takes,
 * ca.pem, cert.pem and key.pem of one folder. Loaded only where such a socket was named.
 */
import { readFileSync } from 'node:fs'
import type { ClientRequest, RequestOptions } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { type Fault, fault, reasonOf } from '../fault.ts'
import { usage } from './usage.ts'

/** Docker's port of TLS. */
const portDefault = '2376'

/** Begins requests to `tcp://host:port`. Throws a fault that names the file that is missing. */
export function secureRequest(socket: string, folder = ''): (options: RequestOptions) => ClientRequest {
  const [, v6, host = v6, port = portDefault] =
    /^tcp:\/\/(?:\[([^\]]+)\]|([^:/]+))(?::(\d{1,5}))?\/?$/.exec(socket) ?? []
  if (host === undefined) throw usage(`invalid socket "${socket}"`, 'Write it as tcp://host:2376')
  const files = { ca: read(folder, 'ca.pem'), cert: read(folder, 'cert.pem'), key: read(folder, 'key.pem') }
  return (options) => request({ ...options, ...files, host, port: Number(port) })
}

/** What the two sides' certificates say of each other; undefined for what has other causes. */
export function refusedBy(socket: string, error: NodeJS.ErrnoException): Fault | undefined {
  const code = error.code ?? ''
  if (!/CERT|SSL|TLS|SIGNATURE|EPROTO/.test(code)) return undefined
  const why = code.includes('ALERT') ? 'it does not take our certificate' : error.message
  return fault(
    'forbidden',
    `${socket} and this client do not trust each other: ${why}`,
    'Both certificates are signed by the other side’s authority, and that of the agent names the host asked for',
    error,
  )
}

function read(folder: string, name: string): Buffer {
  const path = join(folder, name)
  try {
    return readFileSync(path)
  } catch (cause) {
    throw fault(
      'invalid',
      `${path} cannot be read: ${reasonOf(cause).replace(/, open .*$/, '')}`,
      'Name the folder of ca.pem, cert.pem and key.pem in VINE_CERT_PATH or DOCKER_CERT_PATH',
      cause,
    )
  }
}
