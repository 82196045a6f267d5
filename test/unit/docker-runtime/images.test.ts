// How images are fetched, against an engine that only takes notes: the login goes into a header, and into nothing that is logged anywhere.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Docker from 'dockerode'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClock } from '../../../agent/real.ts'
import { createImages } from '../../../agent/runtime/docker/images.ts'
import type { Log } from '../../../agent/world.ts'
import { silent } from '../../contract/runtime/harness.ts'

let folder: string
let server: Server
let asked: IncomingMessage[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vine-images-'))
  asked = []
  server = createServer((request, response) => {
    asked.push(request)
    const isPull = request.method === 'POST'
    response.statusCode = isPull ? 200 : 404
    response.end(JSON.stringify(isPull ? { error: 'unauthorized: go away' } : { message: 'no such image' }))
  })
  await new Promise<void>((resolve) => server.listen(join(folder, 'docker.sock'), resolve))
})

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true, force: true })
})

/** Fetches images with the logins of the folder. */
function fetcher(log: Log = silent): (image: string) => Promise<void> {
  const engine = { docker: new Docker({ socketPath: join(folder, 'docker.sock') }), arch: 'amd64', version: '1' }
  const images = createImages({ logins: folder, clock: createClock(), log })
  return (image) => images.have(engine, image, { tell: () => {}, isWanted: () => true })
}

test('the login for the registry of an image is in the header that Docker has for it, and not in the address', async () => {
  const auth = Buffer.from('me:hush').toString('base64')
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ auths: { 'example.com': { auth } } }))
  const have = fetcher()
  await expect(have('example.com/web:1')).rejects.toThrow(
    /^No such image: example.com\/web:1 \(unauthorized: go away\)$/,
  )
  const { url, headers } = asked.at(-1) ?? {}
  expect(url).toMatch(/\/images\/create\?fromImage=example.com%2Fweb&tag=1$/)
  expect(JSON.parse(Buffer.from(String(headers?.['x-registry-auth']), 'base64url').toString())).toEqual({
    ...{ serveraddress: 'example.com', username: 'me', password: 'hush' },
  })
  await expect(have('other.example/web:1')).rejects.toThrow(/go away; this node has no login for other\.example/)
  expect(asked.at(-1)?.headers['x-registry-auth']).toBeUndefined()
})

test('a configuration that cannot be read is logged once, and told with each fetch that failed', async () => {
  writeFileSync(join(folder, 'config.json'), 'hush')
  const logged: unknown[] = []
  const log = { ...silent, warn: (...words: readonly unknown[]) => void logged.push(words) }
  const have = fetcher(log)
  for (let i = 0; i < 2; i++)
    await expect(have('web:1')).rejects.toThrow(/config\.json is not as Docker's client writes it/)
  expect(logged).toHaveLength(1)
  expect(JSON.stringify(logged)).not.toContain('hush')
})
