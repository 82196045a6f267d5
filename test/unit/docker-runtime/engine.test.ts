import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { openEngine } from '../../../agent/runtime/docker/engine.ts'

const folder = mkdtempSync(join(tmpdir(), 'vine-engine-'))
const socket = join(folder, 'docker.sock')
let server: Server | undefined

afterEach(async () => {
  await new Promise((resolve) => server?.close(resolve) ?? resolve(undefined))
  rmSync(folder, { recursive: true, force: true })
})

test('what does not answer as an engine that is new enough is none, and the reason is told', async () => {
  const version = { Version: '28.2.2', ApiVersion: '1.50', Arch: 'amd64', Components: [{ Name: 'Engine' }] }
  let answer: object = version
  server = createServer((_request, response) => response.end(JSON.stringify(answer)))
  await expect(openEngine(socket)).rejects.toThrow(/Docker does not answer at .*ENOENT/)
  await new Promise<void>((resolve) => server?.listen(socket, resolve))

  const engine = await openEngine(socket)
  expect(engine).toMatchObject({ version: '28.2.2', arch: 'amd64' })
  // dockerode does so at every call, and it must cost nothing.
  expect(inspect((engine.docker.modem as { agent?: unknown }).agent, { showHidden: true, depth: null })).toBe('Agent')
  answer = { ...version, Version: '19.03.15', ApiVersion: '1.40' }
  await expect(openEngine(socket)).rejects.toThrow(/Docker 19\.03\.15 at .* is too old: it speaks API 1\.40/)
  // DOCKER_HOST of a user of the agent's API, in the environment of a second agent.
  answer = { ...version, Components: [{ Name: 'Engine' }, { Name: 'Grapevine' }] }
  await expect(openEngine(socket)).rejects.toThrow(/is a Grapevine agent, not a Docker engine/)
})
