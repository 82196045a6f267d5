// `npm run package`: one archive that runs on any Linux of this architecture with nothing to install. It holds Node, the program
// as JavaScript (Node does not strip types below node_modules, and JavaScript starts sooner), the production packages and bin/vine.
// It fetches nothing: what it packs is what the tests ran with. The same tree gives the same archive, byte for byte.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, relative } from 'node:path'
import { arch, platform } from 'node:process'
import { pipeline } from 'node:stream/promises'
import { constants, createGzip } from 'node:zlib'

interface Locked {
  readonly dev?: boolean
}

const root = join(import.meta.dirname, '..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const lock: Readonly<Record<string, Locked>> = JSON.parse(
  readFileSync(join(root, 'package-lock.json'), 'utf8'),
).packages
const name = `grapevine-${manifest.version}-${platform}-${arch}`
/** `npm run package` writes to dist/; a test names a folder of its own. */
const dist = process.argv[2] ?? join(root, 'dist')
const tree = join(dist, '.work', name)
const archive = join(dist, `${name}.tar.gz`)
const started = performance.now()

/** Folders of a package that nothing loads at run time. */
const UNUSED_FOLDERS = /^(docs?|examples?|tests?|__tests__|benchmarks?|\.github|include|share|man|\.bin)$/
/** Declarations, maps, prose, and libp2p's bundles for browsers. Licences stay: they go with every copy. */
const UNUSED_FILES =
  /(\.[cm]?ts|\.map|\.md|\.markdown|\.flow|\.tsbuildinfo|\.yml|\.h|\.gyp|\.cc|\.wat|\/dist\/index\.min\.js)$/i
const LICENCES = /^(licen[cs]e|notice|copying|patents)/i

try {
  await build()
} finally {
  rmSync(join(dist, '.work'), { recursive: true, force: true })
}

async function build(): Promise<void> {
  rmSync(tree, { recursive: true, force: true })
  mkdirSync(tree, { recursive: true })
  step('building the program')
  const tsc = join(root, 'node_modules', '.bin', 'tsc')
  const built = spawnSync(process.execPath, [tsc, '-p', join(root, '.ci', 'tsconfig.build.json'), '--outDir', tree], {
    stdio: 'inherit',
  })
  if (built.status !== 0) {
    process.exitCode = 1
    return step('not packed: the program does not build. Mend what tsc names above')
  }
  for (const part of ['agent', 'protocol']) copy(join(root, part), join(tree, part), (file) => !file.endsWith('.ts'))

  step('copying packages and Node')
  for (const path of productionPackages()) copy(join(root, path), join(tree, path), isUsed)
  mkdirSync(join(tree, 'node_modules', '.bin'))
  symlinkSync(`../node-${platform}-${arch}/bin/node`, join(tree, 'node_modules', '.bin', 'node'))
  for (const file of ['bin/vine', 'LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md']) {
    if (existsSync(join(root, file))) cpSync(join(root, file), join(tree, file))
  }
  const { version, license, description } = manifest
  const kept = { name: manifest.name, version, description, license, private: true, type: 'module' }
  writeFileSync(join(tree, 'package.json'), `${JSON.stringify(kept, null, 2)}\n`)

  step(`packing ${relative(root, archive)}`)
  await pack()
  const megabytes = (statSync(archive).size / 1e6).toFixed(1)
  step(`done: ${relative(process.cwd(), archive)} (${megabytes} MB). Unpack it anywhere and run ${name}/bin/vine`)
}

/** What npm has put here and production needs. A package of another platform is in the lock file and not on this disk. */
function productionPackages(): readonly string[] {
  return Object.entries(lock)
    .filter(([path, entry]) => path !== '' && entry.dev !== true && existsSync(join(root, path)))
    .map(([path]) => path)
    .sort()
}

function isUsed(file: string, inPackage: string): boolean {
  if (inPackage === '') return true
  if (statSync(file).isDirectory()) {
    // A package inside of a package has its own entry in the lock file.
    return basename(file) !== 'node_modules' && !UNUSED_FOLDERS.test(inPackage)
  }
  return LICENCES.test(basename(file)) || !UNUSED_FILES.test(file)
}

function copy(from: string, to: string, wanted: (file: string, within: string) => boolean): void {
  cpSync(from, to, { recursive: true, filter: (file) => wanted(file, relative(from, file)) })
}

/** Sorted, owned by nobody in particular, and dated by the last commit or as is asked for, so that it depends on the content only. */
async function pack(): Promise<void> {
  const date =
    process.env.SOURCE_DATE_EPOCH ??
    execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' }).trim()
  const fixed = [
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    `--mtime=@${date}`,
    '--mode=u+rw,go+r-w,a+X',
  ]
  const tar = spawn('tar', ['-C', join(tree, '..'), ...fixed, '-c', name], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<void>((resolve, reject) => {
    tar.on('error', reject)
    tar.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`tar ended with exit code ${code}`))))
  })
  const unfinished = `${archive}.part`
  const gzip = createGzip({ level: constants.Z_DEFAULT_COMPRESSION })
  await Promise.all([pipeline(tar.stdout, gzip, createWriteStream(unfinished)), ended])
  renameSync(unfinished, archive)
}

function step(text: string): void {
  process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${text}\n`)
}
