/** Header names that agents and `vine` agree on beside Docker's. */

/** Set on requests between agents, with the id of the node that asks; see ApiRequest.relayed. */
export const relayedHeader = 'x-grapevine-relayed'

/** JSON list of sentences for people, URI-encoded, where the body has Docker's shape and no room for them. */
export const warningsHeader = 'x-grapevine-warnings'

/** Docker's: base64 of a JSON object. */
export const registryAuthHeader = 'x-registry-auth'

/** Whether it says anything: a client that is not logged in sends an empty object, or the address of the registry alone. */
export function hasRegistryAuth(header: string | readonly string[] | undefined): boolean {
  if (typeof header !== 'string' || header === '') return false
  try {
    const told: unknown = JSON.parse(Buffer.from(header, 'base64').toString('utf8'))
    return Object.entries(told ?? {}).some(([key, value]) => key.toLowerCase() !== 'serveraddress' && value !== '')
  } catch {
    // Not as Docker writes it, but somebody meant something.
    return true
  }
}
