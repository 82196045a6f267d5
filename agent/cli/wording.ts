/**
 * How facts read on a screen: ages, states, ids, images. Docker's own wording (docker/go-units HumanDuration), so that eyes and
 * scripts find what they know. Pure; the present is handed in.
 */
const second = 1000
const minute = 60 * second
const hour = 60 * minute
const day = 24 * hour

/** `Less than a second`, `About a minute`, `3 hours`. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / second)
  if (seconds < 1) return 'Less than a second'
  if (seconds === 1) return '1 second'
  if (seconds < 60) return `${seconds} seconds`
  const minutes = Math.floor(ms / minute)
  if (minutes === 1) return 'About a minute'
  if (minutes < 60) return `${minutes} minutes`
  const hours = Math.round(ms / hour)
  if (hours === 1) return 'About an hour'
  if (hours < 48) return `${hours} hours`
  if (hours < 24 * 7 * 2) return `${Math.floor(ms / day)} days`
  if (hours < 24 * 30 * 2) return `${Math.floor(ms / day / 7)} weeks`
  if (hours < 24 * 365 * 2) return `${Math.floor(ms / day / 30)} months`
  return `${Math.floor(ms / day / 365)} years`
}

/** `12 seconds ago`; an ISO time that is no time gives nothing. */
export function ago(iso: string | undefined, now: number): string {
  const at = Date.parse(iso ?? '')
  return Number.isNaN(at) ? '' : `${humanDuration(Math.max(now - at, 0)).toLowerCase()} ago`
}

/** `2026-11-23 05:16:07.297 +0000 UTC`, as Go prints a time. */
export function utc(iso: string | undefined): string {
  return (iso ?? '')
    .replace('T', ' ')
    .replace(/(\.\d*?)0*Z$/, '$1 +0000 UTC')
    .replace('. +', ' +')
}

/** `running` as `Running`. */
export function title(word: string): string {
  return word === '' ? '' : (word[0]?.toUpperCase() ?? '') + word.slice(1)
}

/** Docker's short id. */
export function shortId(id: string): string {
  return id.slice(0, 12)
}

/** The image as a person named it: no digest. */
export function shortImage(image: string): string {
  return image.replace(/@sha256:[0-9a-f]+$/, '')
}

/**
 * Ready, Unreachable, Down, Left. The API has Docker's two states; which kind of ready or down it is, its message says
 * (api/render/node.ts).
 */
export function nodeState(state: string | undefined, message = ''): string {
  if (message.endsWith('left')) return 'Left'
  if (message.startsWith('suspect') || state === 'disconnected' || state === 'unknown') return 'Unreachable'
  return title(state ?? 'unknown')
}

/** Orders `web.2` before `web.10`. */
export function naturalCompare(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? []
  const right = b.match(/\d+|\D+/g) ?? []
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const [x, y] = [left[i] ?? '', right[i] ?? '']
    const difference = /^\d/.test(x) && /^\d/.test(y) ? Number(x) - Number(y) : 0
    if (difference !== 0) return difference
    if (x !== y) return x < y ? -1 : 1
  }
  return left.length - right.length
}

/** `1.5GiB` for bytes. */
export function bytesText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number(value.toPrecision(4))}${units[unit]}`
}
