import { createRequire } from 'node:module'
import { compilePattern, type PatternFault } from './patterns.js'
import { plural } from './words.js'

/** Gives the names that a pattern matches new ones; undefined for names that it does not match. */
export type Rename = (name: string) => string | undefined

const require = createRequire(import.meta.url)

/**
 * `from` is a pattern as filters have them, `to` what takes the place of what it matches: of the whole name for a plain string
 * or a glob, whose stars come back in order as the stars of `to`; of each place where it is found for a regular expression, whose
 * groups are `$1` to `$9` in `to`. Linear time, as for patterns.
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
