/**
 * Join addresses as people write them: a multiaddr with or without `/p2p/…`, `host:port`, `[v6]:port`, a bare host. Pure.
 */

/** Where an address has no port: the default of `--listen` (issue 2). */
export const defaultPort = 7766

export interface Place {
  /** A name or an IP address, v6 without brackets. */
  readonly host: string
  readonly port: number
  /** `/p2p/<id>`, or empty when any member will do. */
  readonly peer: string
}

/** Undefined when the text is no address. */
export function placeOf(text: string): Place | undefined {
  const place = text.startsWith('/') ? ofMultiaddr(text) : ofHostPort(text)
  return place !== undefined && place.port > 0 && place.port < 65_536 ? place : undefined
}

function ofMultiaddr(text: string): Place | undefined {
  const found = /^\/(?:ip4|ip6|dns|dns4|dns6)\/([^/\s]+)\/tcp\/([0-9]{1,5})(\/p2p\/[1-9A-HJ-NP-Za-km-z]+)?\/?$/.exec(
    text,
  )
  if (found === null) return undefined
  return { host: found[1]!, port: Number(found[2]), peer: found[3] ?? '' }
}

function ofHostPort(text: string): Place | undefined {
  const v6 = /^\[([0-9a-fA-F:.%]+)\](?::([0-9]{1,5}))?$/.exec(text)
  if (v6 !== null) return { host: v6[1]!, port: Number(v6[2] ?? defaultPort), peer: '' }
  if (/^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text)) return { host: text, port: defaultPort, peer: '' }
  const named = /^([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?$/.exec(text)
  return named === null ? undefined : { host: named[1]!, port: Number(named[2] ?? defaultPort), peer: '' }
}
