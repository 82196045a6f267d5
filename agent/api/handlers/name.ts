/** A name for a service that was created without one: an adjective and a plant, and two digits of chance. Docker invents names too. */
const adjectives = [
  'ample',
  'brisk',
  'calm',
  'deft',
  'eager',
  'fair',
  'glad',
  'hardy',
  'keen',
  'lucid',
  'merry',
  'noble',
  'quiet',
  'ready',
  'sunny',
  'witty',
]
const plants = [
  'aster',
  'birch',
  'cedar',
  'dahlia',
  'elder',
  'fern',
  'gorse',
  'hazel',
  'iris',
  'juniper',
  'laurel',
  'maple',
  'oak',
  'poppy',
  'rowan',
  'willow',
]

/** `bytes` hold 3 or more bytes of chance. */
export function inventName(bytes: Uint8Array): string {
  const [a = 0, b = 0, c = 0] = bytes
  return `${adjectives[a % adjectives.length]}_${plants[b % plants.length]}${String(c % 100).padStart(2, '0')}`
}
