/** A machine's WireGuard without its agent, with a key that outlives the process. */
import { createEncryption, type Encryption, type EncryptionOptions } from '../../agent/dataplane/linux/encryption.ts'
import { loadWireguardKey } from '../../agent/trust/wireguard-key.ts'

export function encryptionOf(
  node: Pick<EncryptionOptions, 'self' | 'underlay' | 'mark' | 'clock' | 'log'>,
): Encryption {
  const { publicKey, secret } = loadWireguardKey('/run')
  return createEncryption({ ...node, port: 51_820, key: Buffer.from(publicKey).toString('base64'), secret })
}
