/** Every bound on what one node accepts from another or from a client, in one place, each with its reason. */
export const limits = {
  /** One text in a spec or record: an env value or a script passed as an argument fits; a file does not. */
  textBytesMax: 64 * 1024,
  /** Items of one list in a spec (env, args, ports): far above Docker habits, far below what stalls a decode. */
  listItemsMax: 1000,
  /** One record on the wire: gossipsub carries 4 MB, but 64 KB and less is advisable (ecosystem.md 2). */
  recordBytesMax: 256 * 1024,
  /** One gossip message: a batch of records is cut here; larger batches go as several messages. */
  gossipBytesMax: 48 * 1024,
  /** One answer of a sync exchange; longer deltas come in several. */
  syncChunkBytesMax: 256 * 1024,
  /** One request or answer between agents over the control plane. */
  requestBytesMax: 1024 * 1024,
  /** Requests of one peer that wait for an answer here; beyond it they are refused, so that one peer cannot fill memory. */
  requestsPerPeerMax: 256,
  /** Body of an API request: a service spec with long args, twice. */
  apiBodyBytesMax: 4 * 1024 * 1024,
  /** One DATA frame of a flow (design.md 2). */
  flowDataBytesMax: 16 * 1024,
  /** A payload of UDP over IPv4. */
  datagramBytesMax: 65_507,
} as const
