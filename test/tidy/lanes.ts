// The two lanes of the end-to-end layer run side by side (test/vitest.e2e.config.ts) and must share no network: a file whose agents live on
// machines has a name that puts it there, and starts nothing on the loopback of this machine, where the other lane has its agents.
import { posix } from 'node:path'
import { type Breach, codeOf, importsOf, type Source } from './source.ts'

const folder = 'test/e2e/'
/** What brings machines, and what starts agents or listens beside them. */
const machines = `${folder}machines.ts`
const onLoopback = /\b(?:createCluster|openCluster|openVictims|createServer|createSocket)\(/
const machinesLane = /^test\/e2e\/(?:machines|linux)[^/]*\.test\.ts$/

export function lanesApart(files: readonly Source[]): readonly Breach[] {
  const texts = new Map(files.map(({ path, text }) => [path, text]))
  return files
    .filter(({ path }) => path.startsWith(folder) && path.endsWith('.test.ts'))
    .flatMap(({ path, text }) => {
      const usesMachines = reaches(path, machines, texts)
      if (usesMachines !== machinesLane.test(path)) {
        const lane = usesMachines ? 'a name that begins with "machines" or "linux"' : 'another name: it has no machines'
        return [`${path} needs ${lane}, for its lane of test/vitest.e2e.config.ts`]
      }
      const [begun] = (usesMachines && onLoopback.exec(codeOf(text))) || []
      return begun === undefined ? [] : [`${path} has machines and ${begun}) beside them: split it by lane`]
    })
}

/** Whether a file imports another, itself or by what it imports. */
function reaches(path: string, wanted: string, texts: ReadonlyMap<string, string>, seen = new Set<string>()): boolean {
  if (path === wanted) return true
  if (seen.has(path)) return false
  seen.add(path)
  return importsOf(texts.get(path) ?? '')
    .filter(({ from, types }) => from.startsWith('.') && !types)
    .some(({ from }) => reaches(posix.join(posix.dirname(path), from), wanted, texts, seen))
}
