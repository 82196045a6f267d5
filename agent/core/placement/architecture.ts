/** Kernels, Node and Docker name one machine differently: Docker's word for images is the common one (swarmkit PlatformFilter). */
export function dockerArch(arch: string): string {
  return names.get(arch.toLowerCase()) ?? arch.toLowerCase()
}

const names: ReadonlyMap<string, string> = new Map([
  ['x86_64', 'amd64'],
  ['x64', 'amd64'],
  ['aarch64', 'arm64'],
])
