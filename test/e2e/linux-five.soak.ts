/**
 * What five machines outlive (linux-five.long.test.ts), once more with the times of the preset `lan` and with 5,000 idle connections held through the kernels
 * while all agents die.
 */
process.env.GRAPEVINE_PRESET = 'lan'
process.env.GRAPEVINE_CALLERS = '1000'
await import('./linux-five.long.test.ts')
