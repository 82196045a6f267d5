/**
 * One answer per view and revision, for readings of the whole view that several decisions ask for between two changes.
 *
 * Keeps only the last answer of each view, so nothing grows. The reading must depend on the view alone.
 */
import type { View } from './view.ts'

export function perRevision<T>(read: (view: View) => T): (view: View) => T {
  const known = new WeakMap<View, { readonly revision: number; readonly answer: T }>()
  return (view) => {
    const held = known.get(view)
    if (held !== undefined && held.revision === view.revision) return held.answer
    const answer = read(view)
    known.set(view, { revision: view.revision, answer })
    return answer
  }
}
