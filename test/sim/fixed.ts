// The seeds that must hold at each release: the first 200. What breaks and is repaired is in the list for good, with its own number.

export const fixedSeeds: readonly number[] = Array.from({ length: 200 }, (_, index) => index + 1)

/** Virtual minutes of faults of each. */
export const fixedMinutes = 10

/** Of `npm test`: short ones that found something once, and some that did not. */
export const sampleSeeds: readonly {
  readonly seed: number
  readonly minutes: number
  readonly nodes?: number
}[] = [
  { seed: 4, minutes: 2 },
  { seed: 7, minutes: 2 },
  { seed: 9, minutes: 2 },
  { seed: 12, minutes: 2 },
  { seed: 14, minutes: 2 },
  { seed: 20, minutes: 2 },
  // One node stands still while another says "back soon", comes back and loses power.
  { seed: 1_795_413_031_008, minutes: 3, nodes: 4 },
]
