// A libp2p of its own on the cluster's wire, which says what the test likes.
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p, type Libp2p } from 'libp2p'
import { clusterTag } from '../../../agent/trust/certificate.ts'
import { createIdentity, type Identity } from '../../../agent/trust/identity.ts'

export function strangerNode(cluster: string, identity: Identity = createIdentity()): Promise<Libp2p> {
  return createLibp2p({
    privateKey: privateKeyFromRaw(Buffer.concat([identity.seed, identity.publicKey])),
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise({ prologueBytes: clusterTag(cluster) })],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  })
}
