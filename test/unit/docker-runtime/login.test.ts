// With which login an image is fetched: whatever `docker login` leaves on a machine, read as Docker's client reads it, and no secret in any sentence.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { remedy } from '../../../agent/runtime/docker/images.ts'
import { registryOf } from '../../../agent/runtime/docker/login.ts'
import { findLogin } from '../../../agent/runtime/docker/logins.ts'

const hub = 'https://index.docker.io/v1/'
const path = process.env.PATH
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vine-logins-'))
  process.env.PATH = `${folder}:${path}`
})

afterEach(() => {
  process.env.PATH = path
  rmSync(folder, { recursive: true, force: true })
})

function configured(config: unknown): void {
  writeFileSync(join(folder, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config))
}

function helper(name: string, script: string): void {
  const file = join(folder, `docker-credential-${name}`)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
}

const encoded = (text: string) => Buffer.from(text).toString('base64')

test.each([
  ['nginx', hub],
  ['library/nginx:1.27', hub],
  ['docker.io/library/nginx', hub],
  ['index.docker.io/library/nginx', hub],
  ['example.com/shop/web:1', 'example.com'],
  ['example.com:5000/web@sha256:0123', 'example.com:5000'],
  ['localhost/web', 'localhost'],
  ['host:5000/web', 'host:5000'],
  ['[::1]:5000/web', '[::1]:5000'],
  ['Upper/web', 'Upper'],
  ['web:5000', hub],
])('the login for %s is that for %s', (image, registry) => {
  expect(registryOf(image)).toBe(registry)
})

test('logins in the file are found by registry, as old and new clients wrote them', async () => {
  expect(await findLogin(folder, 'example.com')).toEqual({})
  configured({
    auths: {
      'example.com': { auth: encoded('me:a:b\0') },
      'https://old.example/v1/': { auth: encoded('old:hush') },
      [hub]: { auth: encoded('hubber:hush'), identitytoken: 'token' },
      'plain.example': { username: 'me', password: 'hush' },
      'empty.example': {},
    },
    HttpHeaders: { 'User-Agent': 'x' },
  })
  const login = async (registry: string) => (await findLogin(folder, registry)).login
  expect(await login('example.com')).toMatchObject({ serveraddress: 'example.com', username: 'me', password: 'a:b' })
  expect(await login('old.example')).toMatchObject({ username: 'old', password: 'hush' })
  expect(await login(hub)).toMatchObject({ serveraddress: hub, username: 'hubber', identitytoken: 'token' })
  expect(await login('plain.example')).toMatchObject({ username: 'me', password: 'hush' })
  expect(await findLogin(folder, 'empty.example')).toEqual({})
  expect(await findLogin(folder, 'other.example')).toEqual({})
})

test('a helper is asked for its registry, and the one for all where there is none', async () => {
  configured({ auths: { 'example.com': {} }, credHelpers: { 'example.com': 'one' }, credsStore: 'all' })
  helper(
    'one',
    'read -r registry; echo "{\\"ServerURL\\":\\"$registry\\",\\"Username\\":\\"$1 $registry\\",\\"Secret\\":\\"hush\\"}"',
  )
  helper('all', 'echo \'{"Username":"<token>","Secret":"hush"}\'')
  expect(await findLogin(folder, 'example.com')).toEqual({
    login: { serveraddress: 'example.com', username: 'get example.com', password: 'hush' },
  })
  expect(await findLogin(folder, hub)).toEqual({ login: { serveraddress: hub, identitytoken: 'hush' } })
})

test.each([
  ['no JSON', '{"auths":{"example.com":{"auth":"hush', /config\.json is not as Docker's client writes it/],
  ['another shape', { auths: ['hush'] }, /config\.json is not as Docker's client writes it/],
  ['an entry of another shape', { auths: { 'example.com': 'hush' } }, /its entry for example\.com is not as/],
  [
    'a login without a name',
    { auths: { 'example.com': { auth: encoded('hush') } } },
    /"auth" of its entry for example/,
  ],
  ['a helper by path', { credsStore: '../hush' }, /the name of its helper is not as/],
  ['a helper that is not there', { credsStore: 'absent' }, /docker-credential-absent gave no login .*not on the PATH/],
  ['a helper that fails', { credsStore: 'fails' }, /docker-credential-fails gave no login .*: the key ring is locked/],
  ['a helper that prints something else', { credsStore: 'odd' }, /docker-credential-odd printed no login for example/],
])('%s is told without what is secret, and nothing is thrown', async (_what, config, told) => {
  helper('fails', 'echo the key ring is locked; exit 1')
  helper('odd', 'echo hush')
  configured(config)
  const { login, problem = '' } = await findLogin(folder, 'example.com')
  expect(login).toBeUndefined()
  expect(problem).toMatch(told)
  expect(problem).not.toContain('hush')
})

test('a helper that has no login is no failure', async () => {
  configured({ credsStore: 'none' })
  helper('none', 'echo credentials not found in native keychain; exit 1')
  expect(await findLogin(folder, 'example.com')).toEqual({})
})

test('a failed fetch says what to do about a login, and only where that may help', () => {
  const denied = 'Head "http://example.com/v2/web/manifests/1": no basic auth credentials'
  const login = { serveraddress: 'example.com', username: 'me' }
  expect(remedy(denied, {}, 'example.com')).toMatch(/no login for example\.com: type docker login/)
  expect(remedy(denied, { login }, 'example.com')).toBe('')
  expect(remedy('connection refused', {}, 'example.com')).toBe('')
  expect(remedy('connection refused', { problem: 'it is odd' }, 'example.com')).toBe('; it is odd')
})
