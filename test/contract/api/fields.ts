/** Every field by where it stands, `[].Spec.Name`; ids that are names of fields are `*`. */
export function fieldsOf(value: unknown, at = ''): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => fieldsOf(item, `${at}[]`))
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, item]) => {
    const here = /^[0-9a-z]{25,}$/.test(name) ? `${at}.*` : at === '' ? name : `${at}.${name}`
    return [here, ...fieldsOf(item, here)]
  })
}
