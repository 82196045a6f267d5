/** Leaves out of a body what Docker's client leaves out, so that the same file gives the same body. Pure. */

/** Without what is undefined. */
export function defined<T extends object>(of: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}

/** Without what Go leaves out of its JSON: nothing, zero, the empty text, false, and lists and mappings without content. */
export function filled<T extends object>(of: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const isEmpty = (value: unknown) => !value || (typeof value === 'object' && Object.keys(value).length === 0)
  return Object.fromEntries(Object.entries(of).filter(([, value]) => !isEmpty(value))) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
