/**
 * What the fuzz campaigns share: how many inputs a socket gets, the seed that replays a run, and ways to spoil a good message.
 *
 * VINE_FUZZ_RUNS is 2,000 in `npm test` and 100,000 in `npm run soak`; VINE_FUZZ_SEED replays. Chance comes from here alone, so a
 * campaign sends the same inputs for the same seed.
 */

/** Inputs for each socket. */
export const fuzzRuns = Number(process.env.VINE_FUZZ_RUNS ?? 2_000)
export const fuzzSeed = Number(process.env.VINE_FUZZ_SEED ?? 20_260_101)
/** In names of tests, whose lines are what the soak prints of a socket. */
export const manyInputs = `${fuzzRuns.toLocaleString('en')} inputs`
/** 30 ms an input is ten times what one takes on an idle machine. */
export const fuzzTimeoutMs = Math.max(60_000, fuzzRuns * 30)
/**
 * In every text that is invented: where it turns up, something got through. No name may hold spaces, and no id is as long, so that it is not in the
 * books of what was refused (limits of record.ts), nor among what msgpackr keeps to read keys faster.
 */
export const mark = 'what was invented to fuzz agents is kept by nobody? '.repeat(3)

export type Chance = () => number

/** Mulberry32: a small generator with a seed. Campaigns of one run differ by their name. */
export function chance(campaign: string): Chance {
  let state = [...campaign].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) | 0, fuzzSeed)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export function pickOf<T>(items: readonly T[], random: Chance): T {
  return items[Math.floor(random() * items.length)] as T
}

/** Mostly few bytes, at most `most`. */
export function noise(random: Chance, most: number): Uint8Array {
  return Uint8Array.from({ length: 1 + Math.floor(random() ** 3 * most) }, () => Math.floor(random() * 256))
}

/** A copy with one field somewhere in it missing, added, or of another kind, size or depth. */
export function bent(value: unknown, random: Chance): unknown {
  if (Array.isArray(value) && value.length > 0 && random() < 0.85) {
    const at = Math.floor(random() * value.length)
    if (random() < 0.1) return value.toSpliced(at, 1)
    if (random() < 0.1) return value.toSpliced(at, 0, pickOf(oddities, random)(random))
    return value.with(at, bent(value[at], random))
  }
  if (isPlain(value) && random() < 0.85) {
    const names = Object.keys(value)
    const name = pickOf(names, random)
    if (name === undefined || random() < 0.1) return { ...value, [pickOf(oddNames, random)]: 1 }
    if (random() < 0.15) return Object.fromEntries(Object.entries(value).filter(([key]) => key !== name))
    return { ...value, [name]: bent(value[name], random) }
  }
  return pickOf(oddities, random)(random)
}

/** A copy with some bytes changed, cut off or added. */
export function spoilt(bytes: Uint8Array, random: Chance): Uint8Array {
  const turn = random()
  if (turn < 0.25) return bytes.slice(0, Math.floor(random() * bytes.length))
  if (turn < 0.35) return Buffer.concat([bytes, noise(random, 300)])
  const copy = Uint8Array.from(bytes)
  for (let i = 0; i < 1 + random() * 4; i++) copy[Math.floor(random() * copy.length)] = Math.floor(random() * 256)
  return copy
}

/** A list in a list in a list. */
export function nested(depth: number): unknown {
  let value: unknown = mark
  for (let i = 0; i < depth; i++) value = [value]
  return value
}

const oddNames = ['__proto__', 'constructor', 'toString', '', 'extra', '\u0000'] as const

/** None of them is a good name, number or list of anything. */
const oddities: readonly ((random: Chance) => unknown)[] = [
  () => null,
  () => true,
  () => -1,
  () => 1.5,
  () => 1e308,
  () => Number.MAX_SAFE_INTEGER + 2,
  () => '',
  () => `${mark}\u0000\ud800`,
  (random) => mark.repeat(1 + Math.floor(random() ** 8 * 1_500)),
  () => [],
  () => ({}),
  (random) => nested(1 + Math.floor(random() ** 3 * 400)),
  (random) => Array.from({ length: Math.floor(random() ** 8 * 1_000) }, () => mark),
  (random) =>
    Object.fromEntries(Array.from({ length: Math.floor(random() ** 8 * 2_000) }, (_, i) => [`${mark}${i}`, i])),
]

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
