import { fault } from '../core/diagnostics.js'
import { quote } from '../core/suggest.js'
import { leadsDown } from '../storage/leadsDown.js'

/** The name of a file that a list in a folder gives. `lister` begins the hint: what lists it. Error: `path-escape` if it leads out of the folder. */
export function nameInFolder(name: string, shown: string, lister: string): string {
  if (!leadsDown(name))
    throw fault(
      'path-escape',
      `${shown}: ${quote(name)} is not the name of a file in this folder`,
      `${lister} only files in its own folder`,
    )
  return name
}
