import { createRequire } from 'node:module'
import { compilePattern, type PatternFault } from './patterns.js'
import { plural } from './words.js'

/** The new name for a name that the pattern matches; undefined for other names. */
export type Rename = (name: string) => string | undefined

const require = createRequire(import.meta.url)

/**
 * Compiles a rename rule. `from` is a pattern as in filters, `to` the replacement. A plain string or glob replaces the
 * whole name, and the stars in `to` are filled with the matches of the stars in `from`, in order. A regular expression
 * replaces every match, and `$1` to `$9` in `to` are its groups. Matching takes linear time.
 */
export function compileRename(from: string, to: string): Rename | PatternFault {
  const pattern = compilePattern(from)
  if (pattern.kind === 'fault') return pattern
  if (pattern.kind === 'exact') return (name) => (name === from ? to : undefined)
  const { RE2JS } = require('re2js') as typeof import('re2js')
  if (pattern.kind === 'regex') {
    const compiled = RE2JS.compile(from.slice(1, -1))
    return (name) => {
      if (!pattern.matches(name)) return undefined
      const matcher = compiled.matcher(name)
      let renamed = ''
      let end = 0
      while (matcher.find()) {
        renamed +=
          name.slice(end, matcher.start()) + expand(to, (group) => matcher.group(group) ?? '', matcher.groupCount())
        end = matcher.end()
      }
      return renamed + name.slice(end)
    }
  }
  const stars = from.match(/\*+/g)!.length
  const wanted = to.match(/\*+/g)?.length ?? 0
  if (wanted > stars) {
    return {
      kind: 'fault',
      message: `the new name has ${plural(wanted, 'star')}, but the pattern has ${stars}`,
      offset: 0,
      length: from.length,
    }
  }
  const source = from
    .split(/(\*+)/)
    .map((piece) => (piece.startsWith('**') ? '(.*)' : piece === '*' ? '([^.]*)' : RE2JS.quote(piece)))
    .join('')
  const compiled = RE2JS.compile(`^${source}$`)
  return (name) => {
    const matcher = compiled.matcher(name)
    if (!matcher.find()) return undefined
    let star = 0
    return to.replace(/\*+/g, () => matcher.group(++star) ?? '')
  }
}

const expand = (to: string, group: (index: number) => string, groups: number): string =>
  to.replace(/\$(\d)/g, (written, digit: string) => (Number(digit) <= groups ? group(Number(digit)) : written))
