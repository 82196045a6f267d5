// Makes a fresh clone able to run: fetches what package-lock.json names (Node 24 among it) with npm ci, and shows how far it is.
// Runs before any dependency exists, so it is plain JavaScript for Node 20 and imports only what Node brings.
// It must never touch a node_modules that already agrees with the lock file, nor run twice at once in one checkout.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, realpathSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { alone } from './alone.mjs'
import { eachLine, endChildren, ended, progress, SetupError, say, seconds } from './speak.mjs'
import { installTools } from './tools.mjs'

const root = realpathSync(join(dirname(fileURLToPath(import.meta.url)), '..'))
const lockFile = join(root, 'package-lock.json')
const stamp = join(root, 'node_modules', '.set-up')
const ownNode = join(root, 'node_modules', '.bin', 'node')
/** The packages that carry Node itself. Optional for npm, since each fits one platform, but not for us. */
const NODE_PACKAGE = /^node_modules\/node-(linux|darwin|win)-/
const forTests = process.argv.includes('--for-tests')
/** 20 s: on a busy machine the first package was whole after 12. npm tries a registry that it cannot reach for up to 3 min before it says so. */
const SILENT_S = 20

for (const [signal, code] of [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.on(signal, () => {
    endChildren()
    fail('it was stopped', 'Run the command again; what is half fetched is replaced.')
    process.exit(code)
  })
}
try {
  if (!isSetUp()) await alone(join(root, '.set-up.lock'), say, install)
  if (forTests && process.env.CI === 'true') await installTools(root)
} catch (error) {
  fail(error.message, error.fix ?? error.stack)
  process.exitCode = 1
}

function fail(why, fix) {
  say(`Set-up failed: ${why}\n${fix}`)
  // The caller promised that its last line is a tally, whatever happens.
  if (forTests) process.stdout.write('0 passed, 1 failed\n')
}

/** Fetches everything, unless another set-up did so while this one waited. */
async function install() {
  if (isSetUp()) return
  const { total, node } = wanted()
  const started = Date.now()
  const registry = process.env.npm_config_registry ?? 'https://registry.npmjs.org/'
  say(`Setting up Grapevine, once: fetching ${total} packages, Node ${node} (50 MB) among them, from ${registry}`)
  // From here until the end nobody may take the packages for whole.
  rmSync(stamp, { force: true })
  const npm = spawn(
    'npm',
    ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund', '--loglevel=http'],
    {
      cwd: root,
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  const errors = []
  let fetched = 0
  eachLine(npm, (line) => {
    if (line.includes('http fetch GET 200') && line.includes('.tgz')) fetched += 1
    if (/^npm (error|ERR!)/.test(line)) errors.push(line)
  })
  const shown = progress(() => {
    const silent =
      fetched === 0 && seconds(started) >= SILENT_S
        ? ' (if the registry cannot be reached, npm says so within 3 min)'
        : ''
    return `fetched ${fetched} of about ${total} packages, ${megabytesWritten(npm.pid)}${seconds(started)} s${silent}`
  })
  const end = await ended(npm)
  shown.stop()
  if (end !== undefined) throw npmFailure(end, errors, registry)
  proveNode(node)
  writeFileSync(stamp, `${lockHash()}\n`)
  say(`Set up in ${seconds(started)} s.`)
}

/** True when node_modules is what package-lock.json asks for. Renews the stamp that makes the next look free. */
function isSetUp() {
  try {
    if (!existsSync(ownNode) && wanted().node !== undefined) return false
    if (existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === lockHash()) {
      const now = new Date()
      utimesSync(stamp, now, now)
      return true
    }
    if (!agrees()) return false
    writeFileSync(stamp, `${lockHash()}\n`)
    return true
  } catch (error) {
    // Another user's checkout: nothing may be written, and nothing needs to be when the packages agree.
    if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS') return agrees()
    throw error
  }
}

/** True when npm's own record of what it installed holds each package of the lock file in its version: a developer's npm install. */
function agrees() {
  const record = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(record)) return false
  const { packages } = JSON.parse(readFileSync(record, 'utf8'))
  return Object.entries(lockedPackages()).every(([path, entry]) => {
    const there = packages[path]
    if (there === undefined) return entry.optional === true && !NODE_PACKAGE.test(path)
    return there.version === entry.version && there.integrity === entry.integrity
  })
}

/** How many packages this platform takes (about: what only an unfit one would bring is counted too), and which Node is among them (undefined where npm has none for it). */
function wanted() {
  const packages = lockedPackages()
  const node = Object.entries(packages).find(([path]) => NODE_PACKAGE.test(path))
  return { total: Object.keys(packages).length, node: node?.[1].version }
}

/** The packages of the lock file that fit this machine. */
function lockedPackages() {
  const { packages } = JSON.parse(readFileSync(lockFile, 'utf8'))
  // Without this the report asks the name servers about every connection of this process.
  process.report.excludeNetwork = true
  const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc'
  const fits = (allowed, own) =>
    allowed === undefined || (!allowed.includes(`!${own}`) && (allowed.includes(own) || allowed[0].startsWith('!')))
  return Object.fromEntries(
    Object.entries(packages).filter(
      ([path, entry]) =>
        path !== '' &&
        fits(entry.os, process.platform) &&
        fits(entry.cpu, process.arch) &&
        (process.platform !== 'linux' || fits(entry.libc, libc)),
    ),
  )
}

function lockHash() {
  return createHash('sha256').update(readFileSync(lockFile)).digest('hex')
}

/** The environment for npm: not our own Node, which npm is about to replace, and no leftovers of an outer npm run. */
function environment() {
  const path = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.endsWith('/node_modules/.bin'))
  const outer = /^(npm_lifecycle_.*|npm_package_.*|npm_config_local_prefix|npm_command|INIT_CWD|NODE_OPTIONS)$/
  const kept = Object.entries(process.env).filter(([name]) => !outer.test(name))
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter), npm_config_update_notifier: 'false' }
}

/** A registry can be fetched from while the Node it brought does not run here: say so now, not in the first command. */
function proveNode(version) {
  if (version === undefined) {
    if (Number.parseInt(process.versions.node, 10) >= 24) return
    throw new SetupError(
      `npm has no Node 24 for ${process.platform} on ${process.arch}, and this machine's Node is ${process.version}`,
      'Install Node 24 from https://nodejs.org, then run the command again.',
    )
  }
  const run = spawnSync(ownNode, ['--version'], { encoding: 'utf8' })
  if (run.stdout?.trim() === `v${version}`) return
  throw new SetupError(
    `Node ${version} from npm does not run here: ${run.error?.message ?? run.stderr?.trim() ?? 'it is another version'}`,
    'It needs a Linux with glibc 2.28 or later on x64 or arm64. Use such a machine or container.',
  )
}

function npmFailure(end, errors, registry) {
  const text = [end, ...errors].join('\n')
  const told = errors.filter((line) => !/A complete log|error\s*$|error\s+at /.test(line)).slice(0, 6)
  const message = [`npm ci ${end}`, ...told.map((line) => `  ${line}`)].join('\n')
  return new SetupError(message, npmFix(text, registry))
}

function npmFix(text, registry) {
  if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ECONNRESET|ENETUNREACH|ERR_SOCKET_TIMEOUT/.test(text)) {
    return `Check that this machine reaches ${registry} (behind a proxy: npm config set https-proxy http://…), then run the command again.`
  }
  if (/ENOSPC/.test(text))
    return `Free 1 GB below ${root} and in npm's cache (npm config get cache), then run the command again.`
  if (/EACCES|EPERM|EROFS/.test(text)) return `Make ${root} writable for this user, then run the command again.`
  if (/EUSAGE/.test(text))
    return 'package.json and package-lock.json disagree: run npm install, commit both, and run the command again.'
  if (/npm ENOENT/.test(text))
    return 'Install npm 11, which comes with Node from https://nodejs.org, then run the command again.'
  return 'Read the lines of npm above, then run the command again; what is half fetched is replaced.'
}

/** What npm has written so far: moves while one big package is fetched. Linux tells it; elsewhere the count must do. */
function megabytesWritten(pid) {
  try {
    const bytes = /wchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? '0'
    return `${Math.round(Number(bytes) / 1e6)} MB written, `
  } catch {
    return ''
  }
}
