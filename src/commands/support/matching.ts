import { fault } from '../../core/diagnostics.js'
import { nearNamesHint } from '../../core/names/nearNames.js'
import { compilePattern } from '../../core/patterns.js'
import { quote } from '../../core/suggest.js'

/** The names that a pattern matches. Errors: `bad-pattern`, `unmatched-pattern`. */
export function matching(names: Iterable<string>, text: string, where = 'model'): Set<string> {
  const pattern = compilePattern(text)
  if (pattern.kind === 'fault')
    throw fault(
      'bad-pattern',
      `${quote(text)}: ${pattern.message}`,
      'write a name, a pattern with * and **, or /REGEX/',
    )
  const all = [...names]
  const found = new Set(all.filter(pattern.matches))
  if (found.size === 0)
    throw fault('unmatched-pattern', `${quote(text)} matches no tensor in the ${where}`, nearNamesHint(text, all))
  return found
}
