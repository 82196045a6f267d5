/** Header names that agents and `vine` agree on beside Docker's. */

/** Set on requests between agents, with the id of the node that asks; see ApiRequest.relayed. */
export const relayedHeader = 'x-grapevine-relayed'

/** JSON list of sentences for people, URI-encoded, where the body has Docker's shape and no room for them. */
export const warningsHeader = 'x-grapevine-warnings'
