// The rules about what lies beside the code: the top level, exact versions, and documents that name files and functions.
import { type Breach, codeOf, type Source } from './source.ts'

const TOP_LEVEL = [
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'agent', 'protocol', 'test', 'docker', 'bin', 'README.md'],
  ...['ARCHITECTURE.md', 'CHANGELOG.md', 'LICENSE', 'SECURITY.md'],
]
/** What git ignores. */
const MADE = ['node_modules', 'dist', 'coverage']

export function topLevel(entries: readonly string[]): readonly Breach[] {
  return entries
    .filter(
      (entry) =>
        !entry.startsWith('.') && !TOP_LEVEL.includes(entry) && !MADE.includes(entry) && !entry.endsWith('.log'),
    )
    .map((entry) => `${entry} lies at the top level, which holds only ${TOP_LEVEL.join(' ')}`)
}

export interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly overrides?: Readonly<Record<string, string>>
}

/** Exact, because npm under Node 20 silently takes older versions where a range lets it (ecosystem.md 1). */
export function exactVersions(manifest: Manifest): readonly Breach[] {
  const all = {
    ...manifest.dependencies,
    ...manifest.devDependencies,
    ...manifest.optionalDependencies,
    ...manifest.overrides,
  }
  return Object.entries(all)
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `package.json asks for ${name} ${version}: give one exact version`)
}

/** A reference in a document: `agent/core/place.ts:placeService`, or the file alone. */
const REFERENCE = /\b((?:agent|protocol|test|docker|bin|\.ci)\/[\w./-]*\w\.(?:ts|mjs|json|sh))(?::([A-Za-z_$][\w$]*))?/g

/** Every file that the document names exists, and declares what the document says it does. */
export function namesExist(document: Source, files: readonly Source[]): readonly Breach[] {
  const texts = new Map(files.map((file) => [file.path, file.text]))
  return Array.from(document.text.matchAll(REFERENCE)).flatMap(([, path = '', name]) => {
    const text = texts.get(path)
    if (text === undefined) return [`${document.path} names ${path}, which does not exist`]
    return name === undefined || declares(text, name)
      ? []
      : [`${document.path} names ${path}:${name}, which is not declared there`]
  })
}

/** A function, constant, class or type of that name, or a method or member of an interface at the start of a line. */
function declares(text: string, name: string): boolean {
  const word = name.replaceAll('$', '\\$')
  const declaration = `\\b(?:function\\*?|const|let|class|interface|type)\\s+${word}\\b`
  const member = `^[ \\t]+(?:(?:readonly|async|static|private|get|set)\\s+)*\\*?${word}\\s*[(<:?]`
  return new RegExp(`${declaration}|${member}`, 'm').test(codeOf(text))
}

export function shorterThan(document: Source, linesMax: number): readonly Breach[] {
  const lines = document.text.trimEnd().split('\n').length
  return lines < linesMax ? [] : [`${document.path} has ${lines} lines and should stay under ${linesMax}`]
}
