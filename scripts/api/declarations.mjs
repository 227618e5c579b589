// The public API from the compiler's declarations: what src/index.ts exports, with comments, signatures and members.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The declarations of src/, as the build leaves them and as they are published. */
const folder = fileURLToPath(new URL('../../dist/src/', import.meta.url))

/** The comment as text: without stars, one paragraph per line, and its `@throws` apart. */
function commentOf(block) {
  const lines = block
    .replace(/^\s*\/\*\*|\*\/\s*$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trimEnd())
  const [prose, ...throws] = lines
    .join('\n')
    .trim()
    .split(/^@throws /m)
  const text = (part) =>
    part
      .trim()
      .split(/\n{2,}/)
      .map((paragraph) => paragraph.replaceAll('\n', ' ').trim())
      .join('\n\n')
  return { prose: text(prose), throws: throws.map(text) }
}

/** The end of a declaration: its first `;` or closing brace outside brackets and strings. */
function endOf(text, start, braces) {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const char = text[at]
    if (text.startsWith('/*', at)) at = text.indexOf('*/', at) + 1
    else if (char === "'" || char === '"') at = text.indexOf(char, at + 1)
    else if ('{(['.includes(char)) depth++
    else if ('})]'.includes(char)) {
      depth--
      if (depth === 0 && char === '}' && braces) return at + 1
    } else if (char === ';' && depth === 0) return at + 1
  }
  throw new Error('internal: a declaration without an end')
}

const COMMENT = /\/\*\*(?:(?!\*\/)[\s\S])*\*\//

/** A declaration of a file. `kind`: function, class, interface, type or const. */
function declarationOf(text, name) {
  const head = new RegExp(
    `(?:(${COMMENT.source})\\n)?export (?:declare )?(function\\*?|class|interface|type|const) ${name}\\b`,
  )
  const found = head.exec(text)
  if (!found) return undefined
  const [whole, comment = '', kind] = found
  const start = found.index + whole.length - whole.slice(comment.length).trimStart().length
  const end = endOf(text, start, kind === 'interface' || kind === 'class')
  const body = text.slice(start, end)
  const isFunction = kind.startsWith('function') || (kind === 'const' && /^[^=]*: (<[^>]*>)?\(/.test(body))
  return { name, kind: isFunction ? 'function' : kind, comment: commentOf(comment), body: withNarrowIndent(body) }
}

const withNarrowIndent = (text) => text.replace(/^( {4})+/gm, (indent) => ' '.repeat(indent.length / 2))

/** `name(parameters): result`. */
export const signatureOf = ({ name, body }) =>
  body
    .replace(/^export (?:declare )?(?:function\*?|const) \w+:? ?/, name)
    .replace(/\) => (?=[^)]*$)/, '): ')
    .replace(/;$/, '')

/** The members of an interface, each with its comment and type, those of what it extends first. */
export function membersOf(declaration) {
  const { body, kind } = declaration
  const open = body.indexOf('{')
  if (kind !== 'interface') return undefined
  const [, bases = ''] = / extends ([^{]*)/.exec(body.slice(0, open)) ?? []
  const inherited = bases
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .flatMap((name) => membersOf(declaration.base(name)))
  const members = []
  let at = open + 1
  const inside = new RegExp(`^\\s*(?:(${COMMENT.source})\\s*)?(?:readonly )?(\\w+)(\\??)(?=[:(])`)
  for (;;) {
    const found = inside.exec(body.slice(at))
    if (!found) break
    const [whole, comment = '', name, optional] = found
    const end = endOf(body, at + whole.length, false)
    const type = body.slice(at + whole.length, end - 1).replace(/^: /, '')
    members.push({ name, optional: optional !== '', comment: commentOf(comment).prose, type })
    at = end
  }
  return [...inherited, ...members]
}

let model
/** Everything that src/index.ts exports, by name. */
export const publicApi = () => {
  if (model) return model
  const index = readFileSync(path.join(folder, 'index.d.ts'), 'utf8')
  model = new Map()
  for (const [, list, file] of index.matchAll(/^export (?:type )?\{([^}]*)\} from '\.\/([^']+)\.js'/gm))
    for (const one of list.split(',')) {
      const name = one.trim().replace(/^type /, '')
      if (name !== '') model.set(name, read(file, name))
    }
  return model
}

/** A declaration, in its file or in the one that the file exports it from. */
function read(file, name) {
  const text = readFileSync(path.join(folder, `${file}.d.ts`), 'utf8')
  const found = declarationOf(text, name)
  if (found) {
    const [, bases = ''] =
      found.kind === 'interface' ? (/ extends ([^{]*)\{/.exec(found.body.split('\n')[0]) ?? []) : []
    const names = bases.split(',').map((base) => base.trim())
    // What is extended may be no export of the package. Its members are part of what extends it all the same.
    const extended = new Map(names.filter((base) => base !== '').map((base) => [base, read(file, base)]))
    return { ...found, base: (base) => extended.get(base) }
  }
  const other = [...text.matchAll(/^(?:import|export) (?:type )?\{([^}]*)\} from '([^']+)\.js'/gm)].find(([, list]) =>
    new RegExp(`\\b${name}\\b`).test(list),
  )
  if (!other) throw new Error(`internal: ${file} does not declare ${name}`)
  return read(path.posix.join(path.posix.dirname(file), other[2]), name)
}
