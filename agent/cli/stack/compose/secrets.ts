/** Makes the API's bodies of the secrets and configs that a stack defines of files (docker/cli compose/convert/compose.go). Pure. */
import { fault } from '../../../fault.ts'
import { namespaceLabel } from './labels.ts'
import { filled } from './omit.ts'
import type { FileObject } from './schema.ts'

/** Paths of the files that hold them. */
export function filesOf(objects: Readonly<Record<string, FileObject>>): readonly string[] {
  return defined(objects).flatMap(([, { file, driver }]) => (driver === undefined && file !== undefined ? [file] : []))
}

/** `contents` is base64 by the path of the file. */
export function objectSpecs(
  stack: string,
  objects: Readonly<Record<string, FileObject>>,
  contents: ReadonlyMap<string, string>,
): readonly { readonly Name: string }[] {
  return defined(objects).map(([key, object]) => {
    if (object.file === undefined && object.driver === undefined)
      throw fault('invalid', `"${key}" names no file`, 'Give it a file, or declare it external')
    return {
      Name: object.name ?? `${stack}_${key}`,
      Labels: { ...object.labels, [namespaceLabel]: stack },
      ...filled({ Data: contents.get(object.file ?? '') }),
      ...(object.driver === undefined ? {} : { Driver: { Name: object.driver, Options: object.driver_opts ?? {} } }),
      ...(object.template_driver === undefined ? {} : { Templating: { Name: object.template_driver } }),
    }
  })
}

function defined(objects: Readonly<Record<string, FileObject>>) {
  return Object.entries(objects).filter(([, { external }]) => external !== true)
}
