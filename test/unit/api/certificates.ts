// Certificates as Docker's documents tell to make them, by openssl: an authority, a server on 127.0.0.1, a client.
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { needs } from '../../needs.ts'

export interface Folder {
  readonly path: string
  /** PEM files of Docker's names. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Two folders, each with the ca.pem of both, a cert.pem and a key.pem of its own. */
export function makeCertificates(
  root: string,
  authority = 'test',
): { readonly server: Folder; readonly client: Folder } {
  const openssl = needs('openssl')
  const made = join(root, authority)
  mkdirSync(made, { recursive: true })
  const run = (...words: readonly string[]) => execFileSync(openssl, words, { cwd: made, stdio: 'pipe' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'] as const
  run('req', '-x509', ...newKey, '-keyout', 'ca-key.pem', '-out', 'ca.pem', '-subj', `/CN=${authority}`, '-days', '2')
  const sign = (name: string, extensions: string): Folder => {
    const path = join(made, name)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'extensions'), extensions)
    const [key, cert, ask] = [join(path, 'key.pem'), join(path, 'cert.pem'), join(path, 'ask.pem')]
    run('req', ...newKey, '-keyout', key, '-out', ask, '-subj', `/CN=${name}`)
    run(
      ...['x509', '-req', '-in', ask, '-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-days', '2'],
      ...['-out', cert, '-extfile', join(path, 'extensions')],
    )
    const ca = join(path, 'ca.pem')
    run('x509', '-in', 'ca.pem', '-out', ca)
    return { path, ca, cert, key }
  }
  return {
    server: sign('server', 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n'),
    client: sign('client', 'extendedKeyUsage=clientAuth\n'),
  }
}
